//! What the kernel must be told without having asked.

/// How the kernel is told that what it was answered is true no more.
pub(crate) trait Kernel: Send + Sync {
    /// The validity of everything in a table has changed. Must not wait for other operations.
    /// `known` lists what the kernel may have cached, for kernels that must be told one by one.
    fn forget_all(&self, known: &dyn Fn() -> Vec<KnownName>);

    /// A name vanished without the kernel having asked for it. Must not wait either.
    fn forget_name(&self, parent: u64, name: &[u8]);

    /// The mode of a file has changed in an operation whose answer does not carry it. The kernel
    /// knows when this returns.
    fn forget_stat(&self, ino: u64);
}

/// A name that the kernel may have cached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KnownName {
    /// The inode of the folder.
    pub(crate) parent: u64,
    /// The name in it.
    pub(crate) name: Vec<u8>,
    /// The inode the name stands for.
    pub(crate) ino: u64,
}
