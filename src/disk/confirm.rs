//! Whether a file system is still there when a sync of it has succeeded.
//!
//! ext4 and XFS stop for good when their journal cannot be written. An fsync that is under way at
//! that moment can find that its transaction is no longer waited for, take that for success, and
//! return 0 for bytes that are lost: seen on Linux 6.18 in one of ten to twenty such moments, with
//! bare system calls (the campaign `syncs` looks for it). The file system is marked as stopped before
//! its transactions are given up, and answers EIO from then on, so whoever asks it anything after
//! the sync knows.

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// An extended attribute that no file has.
const NO_ATTRIBUTE: &str = "user.littfs.none";

/// To be called after a sync of `file`, which may be a directory, has returned 0: an error when the
/// file system has stopped meanwhile.
pub(super) fn still_answers(file: &File) -> io::Result<()> {
    // Of what reads nothing from the drive, this is what both file systems refuse once they have
    // stopped, for files and for directories. Any other answer is an answer.
    match rustix::fs::fgetxattr(file, NO_ATTRIBUTE, &mut [0_u8; 0]) {
        Err(Errno::IO) => Err(Errno::IO.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}
