//! The mount: translates between FUSE and `fs`. Only this folder knows `fuser`.
//!
//! `translator` answers the requests, by `convert` in what the library takes; `notices` tells the
//! kernel what it did not ask for. `mount` makes a mount, on what `mountpoint` finds fit for one,
//! and lets go of it. Nothing here knows what an answer should be: that is `fs`.

mod convert;
mod counts;
mod ended;
mod mount;
mod mountpoint;
mod negotiate;
mod notices;
mod translator;

pub use self::counts::{Request, RequestCounts};
pub use self::mount::{Mount, MountOptions, Unmounter};
pub use self::mountpoint::check_mountpoint;
