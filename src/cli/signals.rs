//! SIGTERM, SIGINT and SIGHUP end a mount in order: everything is flushed first.
//!
//! The signals are blocked before any thread is started, so that all threads inherit that, and
//! one thread waits for them. Nothing runs in a signal handler.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{SigSet, Signal};

use super::{EXIT_USAGE, Failure, fail};

type Ending = Box<dyn FnOnce() + Send>;

/// The signals that end the process, now waited for by a thread.
#[derive(Clone, Default)]
pub(crate) struct Signals(Arc<Mutex<Option<Ending>>>);

impl Signals {
    /// Blocks the signals and waits for them. Until [`Signals::on_end`] is called there is nothing
    /// to end in order, and a signal ends the process at once.
    pub(crate) fn watch() -> Result<Self, Failure> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        set.thread_block().or_else(|error| fail(format!("cannot block signals: {error}")))?;
        let signals = Self::default();
        let watched = signals.clone();
        std::thread::Builder::new()
            .name("littfs-signals".to_owned())
            .spawn(move || watched.wait(set))
            .or_else(|error| fail(format!("cannot start a thread: {error}")))?;
        Ok(signals)
    }

    /// What the first signal does from now on.
    pub(crate) fn on_end(&self, ending: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ending));
    }

    fn wait(&self, set: SigSet) {
        let mut ended = false;
        loop {
            let Ok(signal) = set.wait() else { continue };
            let ending = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            match ending {
                Some(ending) => {
                    log::info!("{signal} received: ending the mount");
                    ended = true;
                    // Aside, so that it is known here that it goes on when it is asked again.
                    let thread = std::thread::Builder::new().name("littfs-end".to_owned());
                    if let Err(error) = thread.spawn(ending) {
                        log::error!("cannot start a thread to end the mount: {error}");
                        process::exit(i32::from(EXIT_USAGE));
                    }
                }
                None if ended => log::info!("{signal} received: the mount is ending already"),
                None => {
                    log::info!("{signal} received before the mount was made");
                    process::exit(i32::from(EXIT_USAGE));
                }
            }
        }
    }
}
