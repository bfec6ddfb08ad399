//! The ways in which a client makes a file.

use super::*;

impl Client {
    pub(super) fn make(&mut self, name: &str) -> Result<(), Stop> {
        if name.ends_with(['0', '1', 'e']) && !name.contains("/f") {
            let path = self.at(name);
            let node = Node::Folder { mode: 0o755 };
            return self.change(&[(name, Some(node))], || fs::create_dir(path));
        }
        match self.rng.below(100) {
            0..40 => self.make_plainly(name),
            40..62 => self.make_carefully(name),
            62..72 => self.make_in_steps(name),
            72..80 => self.make_with_sync_between(name),
            80..87 => self.rename_while_open(name),
            87..92 => self.make_link(name),
            _ => self.make_empty_then_full(name),
        }
    }

    /// Creates a file and writes it in one of many ways, without closing it.
    pub(super) fn write(&mut self, name: &str, file: &File) -> Result<Handle, Stop> {
        let path = self.at(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(file.mode);
        let handle = Self::ask(name, || options.open(path))?;
        self.fill(name, &handle, file, 0)?;
        Ok(handle)
    }

    /// Writes the bytes of a file from `from` on.
    pub(super) fn fill(
        &mut self,
        name: &str,
        handle: &Handle,
        file: &File,
        from: usize,
    ) -> Result<(), Stop> {
        let written = self.write_pieces(name, handle, file, from);
        written.inspect_err(|_| self.model.broke_off(name))
    }

    fn write_pieces(
        &mut self,
        name: &str,
        handle: &Handle,
        file: &File,
        from: usize,
    ) -> Result<(), Stop> {
        let bytes = content(file.id, file.bytes);
        let mut cuts = vec![from, file.bytes];
        for _ in 0..self.rng.below(3) {
            cuts.push(self.rng.between(from, file.bytes.max(from)));
        }
        cuts.sort_unstable();
        let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|cut| (cut[0], cut[1])).collect();
        if self.rng.percent(20) {
            pieces.reverse();
        }
        if self.rng.percent(10) {
            // Something else first, and too much of it.
            let wrong = vec![0x55; file.bytes - from + 100];
            Self::ask(name, || handle.write_all_at(&wrong, from as u64))?;
            Self::ask(name, || handle.set_len(file.bytes as u64))?;
        }
        for (start, end) in pieces {
            Self::ask(name, || handle.write_all_at(&bytes[start..end], start as u64))?;
        }
        Ok(())
    }

    pub(super) fn make_plainly(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "create, write, close";
        let file = self.new_file();
        let handle = self.write(name, &file)?;
        let syncs = self.habits.syncs && self.rng.percent(25);
        let node = Some(Node::File(file));
        if syncs {
            self.change(&[(name, node.clone())], || handle.sync_all())?;
            self.model.synced(name);
        }
        // The same again, now closed: that is no new version when it was stored before.
        if syncs {
            return Self::ask(name, || close(handle));
        }
        self.change(&[(name, node)], || close(handle))
    }

    /// As careful programs do: another name first, then, perhaps, an fsync, then the rename.
    pub(super) fn make_carefully(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "write a temporary file and rename it";
        let temporary = format!("{name}.tmp");
        match self.model.get(&temporary) {
            Ok(None) => {}
            Ok(Some(_)) => {
                // What a kill has left.
                let path = self.at(&temporary);
                return self.change(&[(&temporary, None)], || fs::remove_file(path));
            }
            Err(()) => return Ok(()),
        }
        let file = self.new_file();
        let handle = self.write(&temporary, &file)?;
        let node = Node::File(file);
        if self.habits.syncs && self.rng.percent(30) {
            let changes = [(&*temporary, Some(node.clone()))];
            self.change(&changes, || handle.sync_data())?;
            self.model.synced(&temporary);
            Self::ask(&temporary, || close(handle))?;
        } else {
            self.change(&[(&temporary, Some(node.clone()))], || close(handle))?;
        }
        self.rename(&temporary, name, &node)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, node: &Node) -> Result<(), Stop> {
        let result = fs::rename(self.at(from), self.at(to));
        let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Unknown };
        self.model.rename(from, to, node, outcome);
        result.map_err(|error| stop(&error, from))
    }

    /// Appends through duplicates of a descriptor, as shells do.
    pub(super) fn make_in_steps(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "append through a duplicate";
        let file = self.new_file();
        let part = File { bytes: self.rng.between(0, file.bytes), ..file.clone() };
        let handle = self.write(name, &part)?;
        let duplicate = Self::ask(name, || handle.try_clone())?;
        self.change(&[(name, Some(Node::File(part.clone())))], || close(duplicate))?;
        self.finish(name, handle, &part, file)
    }

    pub(super) fn make_with_sync_between(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "write, fsync, write";
        let file = self.new_file();
        let part = File { bytes: self.rng.between(0, file.bytes), ..file.clone() };
        let handle = self.write(name, &part)?;
        if self.habits.syncs {
            let changes = [(name, Some(Node::File(part.clone())))];
            self.change(&changes, || handle.sync_all())?;
            self.model.synced(name);
        }
        self.finish(name, handle, &part, file)
    }

    /// Writes the rest of a file of which a part was stored, and closes it.
    pub(super) fn finish(
        &mut self,
        name: &str,
        handle: Handle,
        part: &File,
        file: File,
    ) -> Result<(), Stop> {
        self.fill(name, &handle, &file, part.bytes)?;
        self.change(&[(name, Some(Node::File(file)))], || close(handle))
    }

    /// A file that gets its name, which may be that of another one, while it is being written.
    pub(super) fn rename_while_open(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "rename an open file";
        let temporary = format!("{name}.new");
        if self.model.get(&temporary) != Ok(None) {
            return Ok(());
        }
        let to = self.other_name(name).unwrap_or_else(|| name.to_owned());
        if !matches!(self.model.get(&to), Ok(None | Some(Node::File(_)))) {
            return Ok(());
        }
        let replaces = self.model.get(&to) != Ok(None);
        let file = self.new_file();
        let handle = self.write(&temporary, &file)?;
        let node = Node::File(file);
        let result = fs::rename(self.at(&temporary), self.at(&to));
        if replaces || result.is_err() {
            // It is stored before it takes the place of another one.
            self.model.set(&[(&temporary, Some(node.clone()))], Outcome::Unknown);
            let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Unknown };
            let changes = [(&*temporary, None), (&*to, Some(node.clone()))];
            self.model.set(&changes, outcome);
        }
        if let Err(error) = result {
            return Err(stop(&error, &temporary));
        }
        self.change(&[(&to, Some(node))], || close(handle))
    }

    pub(super) fn make_link(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "make a symbolic link";
        let target = PathBuf::from(format!("target-{}", self.rng.number()));
        let path = self.at(name);
        let node = Node::Link { target: target.clone() };
        self.change(&[(name, Some(node))], || symlink(target, path))
    }

    pub(super) fn make_empty_then_full(&mut self, name: &str) -> Result<(), Stop> {
        self.doing = "make an empty file and fill it";
        let file = self.new_file();
        let empty = File { bytes: 0, ..file.clone() };
        let handle = self.write(name, &empty)?;
        self.change(&[(name, Some(Node::File(empty)))], || close(handle))?;
        let path = self.at(name);
        let handle = Self::ask(name, || OpenOptions::new().write(true).open(path))?;
        self.fill(name, &handle, &file, 0)?;
        self.change(&[(name, Some(Node::File(file)))], || close(handle))
    }
}
