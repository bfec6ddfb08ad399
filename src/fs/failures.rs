//! Telling the log what a reply cannot tell: which operation failed, on what, and why.
//!
//! A client sees EIO and no more. Whoever runs the mount finds the rest in the log: one line for
//! each such reply, made where the reply is.

use std::sync::Arc;

use super::handles::Handle;
use super::ino::{TOP_INO, is_table_folder};
use super::inodes::Node;
use super::open_file::OpenFile;
use super::{Errno, Fs};
use crate::error::printable;

/// What a request is about, in the numbers of the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The whole mount.
    Mount,
    /// The inode of this number.
    Inode(u64),
    /// What the handle of this number was opened on.
    Handle(u64),
    /// A name in the folder of this inode number.
    Name(u64, &'a [u8]),
}

impl Fs {
    /// Logs a failure that goes to a client who cannot see what it was. `operation` is the name the
    /// kernel has for it. To be called when the operation has ended, since what it had locked is
    /// locked again.
    pub(crate) fn log_failure(&self, operation: &str, subject: Subject<'_>, errno: &Errno) {
        if let Some(said) = errno.to_log() {
            log::error!("{operation} of {} failed: {said}", self.describe(subject));
        }
    }

    /// What a person calls it: table and key, as far as they are known without asking the engine.
    pub(super) fn describe(&self, subject: Subject<'_>) -> String {
        match subject {
            Subject::Mount => "the mount".to_owned(),
            Subject::Inode(TOP_INO) => "the top folder".to_owned(),
            Subject::Inode(ino) => self.describe_inode(ino),
            Subject::Handle(number) => match self.handles.get(number).as_deref() {
                Ok(Handle::Write(file) | Handle::ReadOpen(file)) => describe_open(file),
                Ok(Handle::Read { ino, .. }) => self.describe_inode(*ino),
                Ok(Handle::Folder(folder)) => self.describe(Subject::Inode(folder.ino())),
                Err(_) => "an unknown handle".to_owned(),
            },
            Subject::Name(TOP_INO, name) => format!("table {:?}", printable(name)),
            Subject::Name(parent, name) if is_table_folder(parent) => match self.table_of(parent) {
                Ok(table) => in_table(name, table.name()),
                Err(_) => format!("{:?} in a table that was dropped", printable(name)),
            },
            Subject::Name(parent, name) => {
                let key = self.inodes.with(parent, |inode| match &inode.node {
                    Node::Stored { key: Some(folder), .. } => {
                        in_table(&[folder, name].concat(), inode.table.name())
                    }
                    _ => format!("{:?} in a folder that is gone", printable(name)),
                });
                key.unwrap_or_else(|_| format!("{:?} in an unknown folder", printable(name)))
            }
        }
    }

    fn describe_inode(&self, ino: u64) -> String {
        if is_table_folder(ino) {
            let table = self.table_of(ino).map(|table| format!("table {:?}", table.name()));
            return table.unwrap_or_else(|_| "a table that was dropped".to_owned());
        }
        let stands_for =
            self.inodes.with(ino, |inode| (Arc::clone(&inode.table), inode.node.clone()));
        match stands_for {
            Ok((table, Node::Stored { key: Some(key), .. })) => in_table(&key, table.name()),
            Ok((table, Node::Stored { key: None, .. })) => removed_from(table.name()),
            Ok((_, Node::Open(file))) => describe_open(&file),
            Err(_) => "an unknown file".to_owned(),
        }
    }
}

fn describe_open(file: &OpenFile) -> String {
    let table = file.table().name();
    match &file.state().name {
        Some(name) => in_table(&name.key, table),
        None => removed_from(table),
    }
}

pub(super) fn in_table(key: &[u8], table: &str) -> String {
    format!("{:?} in table {table:?}", printable(key))
}

fn removed_from(table: &str) -> String {
    format!("a file that was removed from table {table:?}")
}
