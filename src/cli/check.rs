//! `littfs check`: every stored byte against its checksum.

use std::process::ExitCode;

use littfs::check::{Finding, Report, check};
use serde_json::{Value, json};

use super::args::TableArguments;
use super::database::{Access, open};
use super::output::{Output, human_bytes};
use super::{EXIT_FOUND, Outcome, say};

/// Runs `littfs check`. Findings are data; the summary is talk.
pub(super) fn run(arguments: &TableArguments) -> Outcome {
    let (db, _) = open(&arguments.database, Access::Read)?;
    let report = check(&db, arguments.table.as_deref())?;
    let mut output = Output::new();
    if arguments.json {
        output.json(&report_json(&report))?;
    } else {
        report.findings.iter().try_for_each(|finding| output.line(&describe(finding)))?;
        say(&summary(&report));
    }
    output.finish()?;
    db.close()?;
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FOUND) })
}

fn describe(finding: &Finding) -> String {
    let file = finding.file.display();
    match finding.offset {
        Some(offset) => format!("{file}: at byte {offset}: {}", finding.what),
        None => format!("{file}: {}", finding.what),
    }
}

fn summary(report: &Report) -> String {
    let (values, bytes) = (report.values_checked, human_bytes(report.bytes_checked));
    match report.findings.len() {
        0 => format!("{values} values ({bytes}) checked, all good"),
        1 => format!("{values} values ({bytes}) checked, 1 finding"),
        count => format!("{values} values ({bytes}) checked, {count} findings"),
    }
}

fn report_json(report: &Report) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.file.display().to_string(),
            "offset": finding.offset,
            "what": finding.what,
        })
    };
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<Value>>(),
        "values_checked": report.values_checked,
        "bytes_checked": report.bytes_checked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_where_and_what() {
        let finding = Finding { file: "/r/0-1.values".into(), offset: Some(8), what: "bad".into() };
        assert_eq!(describe(&finding), "/r/0-1.values: at byte 8: bad");
        let report = Report { findings: vec![finding], values_checked: 3, bytes_checked: 2048 };
        assert_eq!(summary(&report), "3 values (2.0 KiB) checked, 1 finding");
        assert_eq!(report_json(&report)["findings"][0]["offset"], 8);
    }
}
