//! A Python interpreter that makes system calls on request. Files that stay open are held by a
//! process of their own: this one starts others, and each of those closes copies of what is open.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Answers each line of input, a JSON string of statements, with "yes", the name of an error number,
/// or what else went wrong.
const SERVER: &str = include_str!("server.py");

pub(super) struct Python {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// An interpreter whose variable `mnt` is this folder.
    pub(super) fn new(mnt: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SERVER, mnt]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 is installed");
        let requests = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        Self { process, requests, answers }
    }

    /// Runs statements; says what came of them in one word, unless something unforeseen did.
    pub(super) fn run(&mut self, statements: &str) -> String {
        let request = serde_json::to_string(statements).expect("JSON");
        writeln!(self.requests, "{request}").expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended on its own.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
