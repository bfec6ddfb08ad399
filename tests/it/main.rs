//! Everything that is tested from outside, in one program: each test binary is a link of its own.

mod apart;
mod budgets;
mod budgets_tools;
mod caches;
mod cli_errors;
mod crash;
mod damage;
mod expiry;
mod fstab;
mod install;
mod limits;
mod listing;
mod mounted;
mod mounting;
mod program;
mod semantics;
mod service;
mod shell;
mod states;
mod stress;
mod tools;
mod top_folder;
mod tree;
mod unprivileged;
mod users;
mod values;
