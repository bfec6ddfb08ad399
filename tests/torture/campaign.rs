//! What a campaign is: rounds that break something and then look whether anything was lost.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::home::Trouble;
use crate::model::Verdict;

/// Set when the campaigns are to end: an interrupt from the keyboard, for example. Rounds are short, so
/// everything is cleaned up as after any other round.
pub(crate) static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// A campaign by its name.
pub(crate) struct Campaign {
    pub(crate) name: &'static str,
    /// What it breaks, in one line.
    pub(crate) about: &'static str,
    /// Rounds of the short form.
    pub(crate) rounds: u64,
    pub(crate) run: fn(&Orders, &mut Tally) -> Result<(), Trouble>,
}

/// How long and from where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) seed: u64,
    pub(crate) rounds: u64,
    /// No round begins after it.
    pub(crate) deadline: Instant,
}

impl Orders {
    /// Whether there is time for this round, counted from 0.
    pub(crate) fn has_round(&self, round: u64) -> bool {
        let is_ending = IS_ENDING.load(Ordering::Relaxed);
        round < self.rounds && Instant::now() < self.deadline && !is_ending
    }
}

/// What a campaign came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    /// Times that the daemon was killed, or the power cut.
    pub(crate) breaks: u64,
    pub(crate) operations: u64,
    pub(crate) verdict: Verdict,
    /// Runs of `littfs check`, all good.
    pub(crate) checks: u64,
    /// The longest that opening took, recovery included.
    pub(crate) mount_max: Duration,
}

impl Tally {
    /// An error when anything was lost or is wrong.
    pub(crate) fn judge(&mut self, verdict: Verdict) -> Result<(), Trouble> {
        self.verdict.add(verdict);
        let Verdict { lost, wrong, .. } = &self.verdict;
        if lost.is_empty() && wrong.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = lost.iter().chain(wrong).take(20).cloned().collect();
        Err(format!("{} lost, {} wrong:\n  {}", lost.len(), wrong.len(), shown.join("\n  ")))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        write!(
            formatter,
            "{} rounds, {} breaks, {} operations, {} promises checked, {} lost, {} wrong, \
             {} runs of littfs check without damage, longest mount {} ms",
            self.rounds,
            self.breaks,
            self.operations,
            verdict.checked,
            verdict.lost.len(),
            verdict.wrong.len(),
            self.checks,
            self.mount_max.as_millis(),
        )
    }
}

/// Tells whoever runs the campaign.
pub(crate) fn say(text: &str) {
    // When nobody listens the exit code still tells.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
