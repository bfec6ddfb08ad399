//! Everything that is tested from outside, in one program: each test binary is a link of its own.

mod cli_errors;
mod mounting;
mod program;
