//! The keymap: it is moved away when anything is wrong with it, and the next open makes it anew.

use super::{Facts, Repairer};
use crate::error::Result;
use crate::keymap::inspect::{KeymapReader, look};
use crate::layout::keymap_folders;

impl Repairer {
    /// Moves the keymap away if it is damaged.
    pub(super) fn mend_keymap(&mut self, facts: &Facts) -> Result<()> {
        let places = keymap_folders(&facts.table_dirs)?;
        if places.len() > 1 {
            return self.drop_keymap(facts, "it stood in two roots");
        }
        let Some(dir) = places.first() else { return Ok(()) };
        let problem = match look(&self.disk, dir, facts.file.id()) {
            Err(error) => Some(error.to_string()),
            Ok(found) => {
                let damage = found.damage.first().map(ToString::to_string);
                damage.or_else(|| found.reader.as_ref().and_then(bad_page))
            }
        };
        match problem {
            Some(problem) => self.drop_keymap(facts, &problem),
            None => Ok(()),
        }
    }

    /// Moves the keymap away, if there is one.
    pub(super) fn drop_keymap(&mut self, facts: &Facts, why: &str) -> Result<()> {
        for dir in keymap_folders(&facts.table_dirs)? {
            let root = self.root_of(&dir)?;
            let kept = self.aside.remove(&root, &dir)?;
            self.mended(facts, &dir, Some(kept), format!("made anew from the runs: {why}"));
        }
        Ok(())
    }
}

/// What is wrong with the first damaged page.
fn bad_page(reader: &KeymapReader) -> Option<String> {
    (0..reader.pages()).find_map(|number| reader.page(number).err()).map(|error| error.to_string())
}
