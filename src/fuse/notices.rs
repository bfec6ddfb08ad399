//! What the mount tells the kernel without being asked.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use fuser::{Filesystem, INodeNo, Notifier, Session};

use crate::fs::{Kernel, KnownName};

/// `FUSE_NOTIFY_INC_EPOCH` (Linux 6.16): every name that the kernel has cached is looked up again
/// at its next use. A message without a body: length 16, code 8, request 0, in the byte order of
/// the machine.
fn next_epoch() -> [u8; 16] {
    let mut message = [0; 16];
    message[..4].copy_from_slice(&16_u32.to_ne_bytes());
    message[4..8].copy_from_slice(&8_i32.to_ne_bytes());
    message
}

/// The kernel's ear, connected once the session is there.
pub(super) struct Notices {
    device: OnceLock<File>,
    notifier: OnceLock<Notifier>,
    worker: OnceLock<Sender<Vec<KnownName>>>,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self { device: OnceLock::new(), notifier: OnceLock::new(), worker: OnceLock::new() }
    }

    /// Connects to a session; once.
    pub(super) fn connect<F: Filesystem>(&self, session: &Session<F>) -> io::Result<()> {
        let device = File::from(session.as_fd().try_clone_to_owned()?);
        let notifier = session.notifier();
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("littfs-notices".to_owned())
            .spawn(move || forget_names(&notifier, &receiver))?;
        self.device.get_or_init(|| device);
        self.notifier.get_or_init(|| session.notifier());
        self.worker.get_or_init(|| sender);
        Ok(())
    }

    fn start_epoch(&self) -> io::Result<()> {
        let Some(mut device) = self.device.get() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        device.write_all(&next_epoch())
    }

    fn hand_over(&self, names: Vec<KnownName>) {
        // The worker lives as long as this does; a failure leaves names to their timeouts.
        if let Some(worker) = self.worker.get()
            && worker.send(names).is_err()
        {
            log::debug!("the thread that tells the kernel of vanished names has ended");
        }
    }
}

impl Kernel for Notices {
    fn forget_all(&self, known: &dyn Fn() -> Vec<KnownName>) {
        if let Err(error) = self.start_epoch() {
            log::debug!(
                "the kernel does not know epochs ({error}); its names are taken back singly"
            );
            self.hand_over(known());
        }
    }

    fn forget_name(&self, parent: u64, name: &[u8]) {
        // It is rare, and to take back one name the kernel waits for the lock of its folder: a
        // daemon that is killed while it waits there would never end, nor the mount.
        self.forget_all(&|| vec![KnownName { parent, name: name.to_vec(), ino: 0 }]);
    }

    fn forget_stat(&self, ino: u64) {
        // Without pages to drop the kernel takes no lock for it, so it can be told at once.
        let told = self.notifier.get().map(|notifier| notifier.inval_inode(INodeNo(ino), -1, 0));
        if let Some(Err(error)) = told {
            log::debug!("the kernel keeps attributes: {error}");
        }
    }
}

/// Takes names back one by one, for kernels without epochs. On a thread of its own: the kernel locks
/// the folder for it, and whoever holds that lock may be waiting for an answer of this mount.
fn forget_names(notifier: &Notifier, names: &Receiver<Vec<KnownName>>) {
    for name in names.iter().flatten() {
        let told = notifier.inval_entry(INodeNo(name.parent), OsStr::from_bytes(&name.name));
        let told = told.and_then(|()| {
            // A negative offset drops the attributes only.
            if name.ino == 0 { Ok(()) } else { notifier.inval_inode(INodeNo(name.ino), -1, 0) }
        });
        if let Err(error) = told {
            log::debug!("the kernel keeps a name: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn epoch_message_is_pinned() {
        assert_eq!(next_epoch(), [16, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
