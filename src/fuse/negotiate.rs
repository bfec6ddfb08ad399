//! What is agreed with the kernel when a mount begins.

use fuser::{InitFlags, KernelConfig};

/// Largest WRITE and READ.
pub(super) const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Requests that nobody waits for (readahead, RELEASE) which the kernel keeps under way.
const BACKGROUND_MAX: u16 = 128;

/// Asked for when the kernel offers it.
const WANTED: [InitFlags; 8] = [
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Who takes set-user-id away when an owner or bytes change. The kernel would ask for the
    // attributes before each change of an owner.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
];

/// Asks for all that is wanted, and does without what an older kernel lacks.
pub(super) fn negotiate(config: &mut KernelConfig) {
    for wanted in WANTED {
        if config.add_capabilities(wanted).is_err() {
            log::debug!("the kernel does not offer {wanted:?}");
        }
    }
    let limits = [
        config.set_max_write(WRITE_BYTES_MAX).err().map(|_nearest| "write size"),
        config.set_max_background(BACKGROUND_MAX).err().map(|_nearest| "background requests"),
    ];
    for limit in limits.into_iter().flatten() {
        log::debug!("the limit of the {limit} stays as it is");
    }
}
