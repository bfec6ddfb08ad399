//! `littfs check`: every stored byte against its checksum, every reference against what it names;
//! with `--repair`, what can be rebuilt is rebuilt first.

use std::io::IsTerminal;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use littfs::check::{Finding, Report, Severity, check};
use littfs::repair::{Repair, Step, repair};
use serde_json::{Value, json};

use super::args::CheckArguments;
use super::database::{Access, configuration, open_options};
use super::output::{Output, human_bytes};
use super::{EXIT_FOUND, Outcome, say};

/// Redraws of the progress bar in a second.
const REDRAWS_HZ: u8 = 4;

/// Runs `littfs check`. Findings are data; the summary is talk.
pub(super) fn run(arguments: &CheckArguments) -> Outcome {
    let config = configuration(&arguments.database)?;
    let options = open_options(&config, Access::Read, arguments.database.degraded);
    let table = arguments.table.as_deref();
    let repaired = if arguments.repair { Some(repair(&options, table)?) } else { None };
    let bar = progress_bar();
    let report = check(&options, table, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes_done);
    });
    bar.finish_and_clear();
    let report = report?;
    let mut output = Output::new();
    if arguments.json {
        let mut json = report_json(&report);
        json["repair"] = repaired.as_ref().map_or(Value::Null, repair_json);
        output.json(&json)?;
    } else {
        for step in repaired.iter().flat_map(|repaired| &repaired.mended) {
            output.line(&describe_step("mended", step))?;
        }
        for step in repaired.iter().flat_map(|repaired| &repaired.lost) {
            output.line(&describe_step("lost", step))?;
        }
        report.findings.iter().try_for_each(|finding| output.line(&describe(finding)))?;
    }
    output.finish()?;
    if !arguments.json {
        if let Some(repaired) = &repaired {
            say(&repair_summary(repaired));
        }
        say(&summary(&report));
    }
    let is_lost = repaired.is_some_and(|repaired| !repaired.lost.is_empty());
    Ok(if report.is_good() && !is_lost { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FOUND) })
}

/// A progress bar when somebody watches, else one that draws nothing.
fn progress_bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let template = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Damage => "damage",
        Severity::Note => "note",
    }
}

fn describe(finding: &Finding) -> String {
    let (severity, file) = (severity(finding), finding.file.display());
    let place = finding.offset.map(|offset| format!(" at byte {offset}:")).unwrap_or_default();
    let keys = match (finding.keys.count, finding.keys.sample.join(", ")) {
        (0, _) => String::new(),
        (1, sample) => format!(" (key {sample:?})"),
        (count, sample) => format!(" ({count} keys, such as {sample:?})"),
    };
    format!("{severity}: {file}:{place} {}{keys}", finding.what)
}

fn describe_step(word: &str, step: &Step) -> String {
    let kept = step.kept.as_ref();
    let kept = kept.map(|kept| format!(" (kept: {})", kept.display())).unwrap_or_default();
    format!("{word}: {}: {}{kept}", step.file.display(), step.what)
}

fn plural(count: u64, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

fn repair_summary(repaired: &Repair) -> String {
    let mended = plural(repaired.mended.len() as u64, "file");
    let kept: Vec<String> = repaired.kept.iter().map(|kept| kept.display().to_string()).collect();
    match kept.as_slice() {
        [] => format!("{mended} mended"),
        kept => format!(
            "{mended} mended; what was replaced is kept in {} and may be deleted",
            kept.join(", ")
        ),
    }
}

fn repair_json(repaired: &Repair) -> Value {
    let step = |step: &Step| {
        json!({
            "table": step.table,
            "file": step.file.display().to_string(),
            "what": step.what,
            "kept": step.kept.as_ref().map(|kept| kept.display().to_string()),
        })
    };
    json!({
        "mended": repaired.mended.iter().map(step).collect::<Vec<Value>>(),
        "lost": repaired.lost.iter().map(step).collect::<Vec<Value>>(),
        "kept": repaired.kept.iter().map(|kept| kept.display().to_string()).collect::<Vec<_>>(),
    })
}

fn summary(report: &Report) -> String {
    let counts = &report.counts;
    let checked = format!(
        "{}, {}, {}, {} checked",
        plural(counts.tables, "table"),
        plural(counts.segments, "segment"),
        plural(counts.values, "value"),
        human_bytes(counts.bytes)
    );
    let found = match (report.damage, report.notes) {
        (0, 0) => "all good".to_owned(),
        (0, notes) => format!("all good, {}", plural(notes, "note")),
        (damage, notes) => {
            format!("{} of damage, {}", plural(damage, "finding"), plural(notes, "note"))
        }
    };
    match report.left_out() {
        0 => format!("{checked}: {found}"),
        more => format!("{checked}: {found}, {more} of them not shown"),
    }
}

fn report_json(report: &Report) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "severity": severity(finding),
            "table": finding.table,
            "file": finding.file.display().to_string(),
            "offset": finding.offset,
            "what": finding.what,
            "keys": finding.keys.count,
            "keys_sample": finding.keys.sample,
        })
    };
    let counts = &report.counts;
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<Value>>(),
        "damage": report.damage,
        "notes": report.notes,
        "tables": counts.tables,
        "segments": counts.segments,
        "files": counts.files,
        "mentions": counts.mentions,
        "records": counts.records,
        "values_checked": counts.values,
        "bytes_checked": counts.bytes,
        "keymap_pages": counts.keymap_pages,
        "keymap_lookups": counts.keymap_lookups,
        "unreferenced_bytes": counts.unreferenced_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use littfs::check::{AffectedKeys, Counts};

    #[test]
    fn findings_say_where_and_what() {
        let finding = Finding {
            severity: Severity::Damage,
            table: Some("t".into()),
            file: "/r/0-1.values".into(),
            offset: Some(8),
            what: "bad".into(),
            keys: AffectedKeys { count: 1, sample: vec!["k".into()] },
        };
        assert_eq!(describe(&finding), "damage: /r/0-1.values: at byte 8: bad (key \"k\")");
        let counts = Counts { values: 3, bytes: 2048, ..Counts::default() };
        let report = Report { findings: vec![finding], damage: 1, notes: 0, counts };
        assert_eq!(
            summary(&report),
            "0 tables, 0 segments, 3 values, 2.0 KiB checked: 1 finding of damage, 0 notes"
        );
        assert_eq!(report_json(&report)["findings"][0]["offset"], 8);
        assert_eq!(report_json(&report)["findings"][0]["severity"], "damage");
    }
}
