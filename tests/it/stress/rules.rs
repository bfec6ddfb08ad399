//! What each step answers and changes, by the table of `docs/semantics.md`.

use std::ops::Range;

use nix::errno::Errno;

use super::answers::{Answer, Bytes, Kind, Result};
use super::model::{Handle, Model, Node, table};
use super::real::LINK_TARGET;
use super::steps::Step;

impl Model {
    pub(super) fn apply(&mut self, step: &Step) -> Answer {
        match *step {
            Step::Open { slot, path, how } => self.open(slot, path, how).into(),
            Step::Duplicate { slot, of } => match self.slots[of] {
                None => Answer::Nothing,
                Some(handle) => {
                    self.handles[handle].duplicates += 1;
                    self.slots[slot] = Some(handle);
                    Answer::Done
                }
            },
            Step::Close(slot) => self.close(slot),
            Step::Write { slot, .. }
            | Step::WriteAt { slot, .. }
            | Step::WriteMapped { slot, .. }
            | Step::ReadAt { slot, .. }
            | Step::Seek { slot, .. }
            | Step::SetLength { slot, .. }
            | Step::Allocate { slot, .. }
            | Step::Sync { slot, .. }
            | Step::StatHandle(slot)
            | Step::ChmodHandle { slot, .. } => match self.slots[slot] {
                None => Answer::Nothing,
                Some(handle) => self.by_handle(handle, step).into(),
            },
            Step::Rename { from, to, how } => {
                self.rename_step(from, to, how).map(|()| Answer::Done).into()
            }
            _ => self.by_path(step).into(),
        }
    }

    /// An empty file whose duplicate was closed cannot be told from one that was closed, and may be
    /// opened by another writer.
    pub(super) fn is_undecided(&self, step: &Step) -> bool {
        let Step::Open { path, how, .. } = *step else { return false };
        let node = self.find(path).ok().flatten().map(|node| &self.nodes[node]);
        let may_be_closed =
            |node: &Node| node.writers > 0 && node.is_half_closed && node.bytes.is_empty();
        self.write_once && how.contains('w') && node.is_some_and(may_be_closed)
    }

    fn open(&mut self, slot: usize, path: &str, how: &str) -> Result<Answer> {
        let has = |word: &str| how.split(' ').any(|found| found == word);
        let (reads, writes) = (has("r") || has("rw"), has("w") || has("rw"));
        let found = self.find(path)?;
        if found.is_some() && has("excl") {
            return Err(Errno::EEXIST);
        }
        let node = match found {
            None if has("create") => self.add(path, Node::new(Kind::File, 0o600)),
            None => return Err(Errno::ENOENT),
            Some(node) => node,
        };
        match self.nodes[node].kind {
            Kind::Link => return Err(Errno::ENOENT),
            Kind::Folder if writes || has("create") => return Err(Errno::EISDIR),
            // Handles of folders are not kept.
            Kind::Folder => return Ok(Answer::Done),
            Kind::File => {}
        }
        if found.is_some() && writes {
            if self.write_once {
                self.reopen(path, node)?;
            } else if has("trunc") {
                self.nodes[node].bytes.clear();
                self.nodes[node].touch();
            }
        }
        let is_writer = writes || found.is_none();
        self.nodes[node].writers += u32::from(is_writer);
        let appends = has("append");
        let handle = Handle { node, reads, writes, appends, is_writer, position: 0, duplicates: 1 };
        self.handles.push(handle);
        self.slots[slot] = Some(self.handles.len() - 1);
        Ok(Answer::Done)
    }

    /// Opens a file that is there for writing, which only an empty closed one allows.
    fn reopen(&mut self, path: &str, node: usize) -> Result<()> {
        let is_sealed = self.is_sealed(path, node);
        let node = &mut self.nodes[node];
        if node.writers > 0 {
            return Err(Errno::EBUSY);
        }
        if is_sealed || !node.bytes.is_empty() {
            return Err(Errno::EPERM);
        }
        node.versions = vec![Vec::new()];
        node.is_half_closed = false;
        node.was_reopened = true;
        node.mtime_stays = false;
        Ok(())
    }

    fn close(&mut self, slot: usize) -> Answer {
        let Some(handle) = self.slots[slot].take() else { return Answer::Nothing };
        let handle = &mut self.handles[handle];
        handle.duplicates -= 1;
        if handle.is_writer {
            let node = &mut self.nodes[handle.node];
            node.store();
            node.is_half_closed = true;
            if handle.duplicates == 0 {
                node.writers -= 1;
                node.versions.clear();
            }
        }
        Answer::Done
    }

    fn by_handle(&mut self, handle: usize, step: &Step) -> Result<Answer> {
        let write_once = self.write_once;
        let handle = &mut self.handles[handle];
        let node = &mut self.nodes[handle.node];
        match *step {
            Step::Write { bytes, fill, .. } => {
                let at = if handle.appends { node.bytes.len() } else { handle.position };
                write(handle, node, at, bytes, fill)?;
                handle.position = at + bytes;
            }
            Step::WriteAt { at, bytes, fill, .. } => {
                let at = if handle.appends { node.bytes.len() } else { at };
                write(handle, node, at, bytes, fill)?;
            }
            Step::WriteMapped { at, bytes, fill, .. } => {
                if !handle.reads || !handle.writes || node.bytes.len() < at + bytes {
                    return Ok(Answer::Nothing);
                }
                write(handle, node, at, bytes, fill)?;
                // Flushing a mapping syncs the file.
                node.versions.clear();
                node.store();
            }
            Step::ReadAt { at, bytes, .. } => {
                if !handle.reads {
                    return Err(Errno::EBADF);
                }
                let end = node.bytes.len().min(at + bytes);
                let read = node.bytes.get(at..end).unwrap_or_default();
                return Ok(Answer::Bytes(Bytes(read.to_vec())));
            }
            Step::Seek { whence, at, .. } => {
                handle.position = match whence {
                    "set" => at,
                    "end" => node.bytes.len() + at,
                    _ if at >= node.bytes.len() => return Err(Errno::ENXIO),
                    "data" => at,
                    _ => node.bytes.len(),
                };
                return Ok(Answer::Number(handle.position as u64));
            }
            Step::SetLength { bytes, .. } => {
                if !handle.writes {
                    return Err(Errno::EINVAL);
                }
                set_length(node, bytes, write_once);
            }
            Step::Allocate { mode, at, bytes, .. } => {
                allocate(handle, node, mode, at..at + bytes, write_once)?;
            }
            Step::Sync { .. } if handle.is_writer => {
                node.versions.clear();
                node.store();
            }
            Step::StatHandle(_) => {
                let node = handle.node;
                return Ok(Answer::Look(self.look(node)));
            }
            Step::ChmodHandle { mode, .. } => {
                let node = handle.node;
                if let Some(name) = self.name_of(node) {
                    self.refuse_sealed(name, node)?;
                }
                self.nodes[node].mode = mode;
            }
            _ => {}
        }
        Ok(Answer::Done)
    }

    fn by_path(&mut self, step: &Step) -> Result<Answer> {
        match *step {
            Step::Stat(path) => return Ok(Answer::Look(self.look(self.existing(path)?))),
            Step::Read(path) => {
                let node = &self.nodes[self.followed(path)?];
                if node.kind == Kind::Folder {
                    return Err(Errno::EISDIR);
                }
                return Ok(Answer::Bytes(Bytes(node.bytes.clone())));
            }
            Step::List(path) => {
                if self.nodes[self.followed(path)?].kind != Kind::Folder {
                    return Err(Errno::ENOTDIR);
                }
                return Ok(self.list(path));
            }
            Step::SyncFolder(path) => {
                self.followed(path)?;
            }
            Step::Truncate { path, bytes } => self.truncate(path, bytes)?,
            Step::Unlink(path) => self.unlink(path)?,
            Step::MakeFolder(path) => {
                self.absent(path)?;
                self.add(path, Node::new(Kind::Folder, 0o700));
            }
            Step::RemoveFolder(path) => self.remove_folder(path)?,
            Step::Link { from, to } => self.link(from, to)?,
            Step::MakeLink(path) => {
                self.absent(path)?;
                self.add(path, Node::new(Kind::Link, 0o777));
            }
            Step::ReadLink(path) => {
                let node = self.existing(path)?;
                if self.nodes[node].kind != Kind::Link {
                    return Err(Errno::EINVAL);
                }
                return Ok(Answer::Text(LINK_TARGET.to_owned()));
            }
            Step::Chmod { path, mode } => {
                let node = self.followed(path)?;
                self.refuse_sealed(path, node)?;
                self.nodes[node].mode = mode;
            }
            Step::Chown { path, uid, gid } => {
                let node = self.existing(path)?;
                self.refuse_sealed(path, node)?;
                (self.nodes[node].uid, self.nodes[node].gid) = (uid, gid);
            }
            Step::SetTime { path, nanos } => {
                let node = self.existing(path)?;
                self.refuse_sealed(path, node)?;
                // That of a folder moves with what is in it.
                let node = &mut self.nodes[node];
                node.mtime = (node.kind != Kind::Folder).then_some(nanos);
                node.mtime_stays = self.write_once;
            }
            Step::IsSealed(path) | Step::Expires(path) => return self.attribute(path, step),
            Step::Grace { table: name, is_long } => {
                self.is_grace_long[table(name)] = is_long;
                self.was_without_grace[table(name)] |= !is_long;
            }
            Step::Ttl { table: name, is_long } => self.is_ttl_long[table(name)] = is_long,
            _ => {}
        }
        Ok(Answer::Done)
    }

    fn unlink(&mut self, path: &str) -> Result<()> {
        let node = self.existing(path)?;
        if self.nodes[node].kind == Kind::Folder {
            return Err(Errno::EISDIR);
        }
        self.refuse_sealed(path, node)?;
        self.remove(path);
        Ok(())
    }

    fn remove_folder(&mut self, path: &str) -> Result<()> {
        let node = self.existing(path)?;
        if self.nodes[node].kind != Kind::Folder {
            return Err(Errno::ENOTDIR);
        }
        if !self.is_empty_folder(path) {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove(path);
        Ok(())
    }

    fn attribute(&self, path: &str, step: &Step) -> Result<Answer> {
        let node = self.followed(path)?;
        if self.nodes[node].kind == Kind::Folder {
            return Err(Errno::ENODATA);
        }
        let text = match step {
            Step::IsSealed(_) if self.is_sealed(path, node) => "true",
            Step::IsSealed(_) => "false",
            _ if self.is_ttl_long[table(path)] => "later",
            _ => "never",
        };
        Ok(Answer::Text(text.to_owned()))
    }

    fn truncate(&mut self, path: &str, bytes: usize) -> Result<()> {
        let node = self.followed(path)?;
        let write_once = self.write_once;
        let node = &mut self.nodes[node];
        if node.kind == Kind::Folder {
            return Err(Errno::EISDIR);
        }
        if write_once && bytes != node.bytes.len() {
            return Err(if node.writers > 0 { Errno::EBUSY } else { Errno::EPERM });
        }
        set_length(node, bytes, write_once);
        Ok(())
    }

    fn link(&mut self, from: &str, to: &str) -> Result<()> {
        let source = self.existing(from)?;
        self.absent(to)?;
        if self.nodes[source].kind == Kind::Folder {
            return Err(Errno::EPERM);
        }
        if !self.write_once {
            self.nodes[source].names += 1;
            self.names.insert(to.to_owned(), source);
            return Ok(());
        }
        if table(from) != table(to) {
            return Err(Errno::EXDEV);
        }
        if self.nodes[source].writers > 0 {
            return Err(Errno::EBUSY);
        }
        let copy = Node { names: 1, ..self.nodes[source].clone() };
        self.add(to, copy);
        Ok(())
    }

    fn rename_step(&mut self, from: &str, to: &str, how: &str) -> Result<()> {
        let is_below = |one: &str, other: &str| one.starts_with(&format!("{other}/"));
        let source = self.find(from);
        let target = self.find(to);
        let (source, target) = (source?, target?);
        let source = source.ok_or(Errno::ENOENT)?;
        match (how, target) {
            ("noreplace", Some(_)) => return Err(Errno::EEXIST),
            ("exchange", None) => return Err(Errno::ENOENT),
            _ => {}
        }
        if is_below(to, from) || (how == "exchange" && is_below(from, to)) {
            return Err(Errno::EINVAL);
        }
        if is_below(from, to) {
            return Err(Errno::ENOTEMPTY);
        }
        if target == Some(source) {
            return Ok(());
        }
        let is_folder = |node: usize| self.nodes[node].kind == Kind::Folder;
        match target {
            Some(target) if how != "exchange" => match (is_folder(source), is_folder(target)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(Errno::EISDIR),
                _ => {}
            },
            _ => {}
        }
        if matches!(how, "exchange" | "whiteout") {
            return Err(Errno::EINVAL);
        }
        if self.write_once {
            if table(from) != table(to) {
                return Err(Errno::EXDEV);
            }
            self.refuse_sealed(from, source)?;
            if is_folder(source) && !self.is_empty_folder(from) {
                return Err(Errno::EPERM);
            }
            if let Some(target) = target {
                self.refuse_sealed(to, target)?;
            }
        }
        if target.is_some_and(is_folder) && !self.is_empty_folder(to) {
            return Err(Errno::ENOTEMPTY);
        }
        // At no moment the name stands for nothing: what replaces something stored is stored.
        let target = target.map(|target| &self.nodes[target]);
        let is_stored = target.is_some_and(|node| node.writers == 0 || !node.versions.is_empty());
        // And what is stored may be stored again, under the new name.
        let source = &mut self.nodes[source];
        if source.writers > 0 && (is_stored || !source.versions.is_empty()) {
            source.store();
        }
        self.rename(from, to);
        Ok(())
    }
}

fn write(handle: &Handle, node: &mut Node, at: usize, bytes: usize, fill: u8) -> Result<()> {
    if !handle.writes {
        return Err(Errno::EBADF);
    }
    if node.bytes.len() < at + bytes {
        node.bytes.resize(at + bytes, 0);
    }
    node.bytes[at..at + bytes].fill(fill);
    node.touch();
    Ok(())
}

fn set_length(node: &mut Node, bytes: usize, write_once: bool) {
    if write_once && bytes == node.bytes.len() {
        return;
    }
    node.bytes.resize(bytes, 0);
    node.touch();
}

fn allocate(
    handle: &Handle,
    node: &mut Node,
    mode: &str,
    range: Range<usize>,
    write_once: bool,
) -> Result<()> {
    if !handle.writes {
        return Err(Errno::EBADF);
    }
    match mode {
        "" if range.end > node.bytes.len() => set_length(node, range.end, write_once),
        "punch" if write_once => return Err(Errno::EOPNOTSUPP),
        "punch" => {
            let end = range.end.min(node.bytes.len());
            node.bytes[range.start.min(end)..end].fill(0);
            node.touch();
        }
        _ if write_once => {}
        _ => node.touch(),
    }
    Ok(())
}
