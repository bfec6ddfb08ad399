//! `littfs mount`: in the foreground, or by starting itself again in the background.
//!
//! A process with threads cannot safely be forked, so the background mount is the same program
//! started once more with a hidden flag. Its stdout is a pipe to the starter: it says either
//! `ready` or why there will be no mount. The starter returns 0 only when the mount answers.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sys::statvfs::statvfs;

use super::args::MountArguments;
use super::daemon::{self, READY};
use super::mount_plan::MountPlan;
use super::{Failure, Outcome, fail, log_file, preflight};

/// Longer reports of the background mount are cut.
const REPORT_BYTES_MAX: u64 = 64 << 10;

/// Runs `littfs mount`.
pub(super) fn run(arguments: &MountArguments) -> Outcome {
    if arguments.background_child {
        return daemon::serve_in_background(|| {
            let plan = MountPlan::new(arguments)?;
            // As the mount table will have it; the starter has checked it.
            Ok(MountPlan { mountpoint: preflight::real_path(&plan.mountpoint), ..plan })
        });
    }
    let plan = preflight::check(MountPlan::new(arguments)?)?;
    if arguments.foreground {
        log_file::log_to_stderr(log_file::MOUNT_LEVEL);
        daemon::serve_in_foreground(&plan)
    } else {
        wait_for_answer(start(arguments)?, &plan)
    }
}

/// Starts the background mount.
pub(super) fn start(arguments: &MountArguments) -> Result<Child, Failure> {
    let program = std::env::current_exe()
        .or_else(|error| fail(format!("cannot find the littfs program itself: {error}")))?;
    Command::new(program)
        .args(arguments.in_background())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .or_else(|error| fail(format!("cannot start the background mount: {error}")))
}

/// Waits until the background mount answers or says why it does not.
pub(super) fn wait_for_answer(mut child: Child, plan: &MountPlan) -> Outcome {
    let mut report = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout.take(REPORT_BYTES_MAX))
            .read_until(b'\n', &mut report)
            .or_else(|error| fail(format!("no word from the background mount: {error}")))?;
    }
    if report == READY.as_bytes() {
        return check_answer(plan);
    }
    let report = String::from_utf8_lossy(&report);
    match report.trim() {
        "" => {
            let status = child.wait().map_or_else(|error| error.to_string(), |s| s.to_string());
            fail(format!("the background mount ended without a word ({status})"))
        }
        reason => fail(reason),
    }
}

/// The kernel lets this call wait until the mount is served, and fails it when the server dies.
fn check_answer(plan: &MountPlan) -> Outcome {
    match statvfs(&plan.mountpoint) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => fail(format!(
            "{} is mounted but does not answer: {error}; its log says why: {}",
            plan.mountpoint.display(),
            daemon::log_path(&plan.config).display()
        )),
    }
}
