//! Clients and database directories that mean harm: each is refused, contained or bounded.

mod clients;
mod exhaustion;
mod roots;
mod strangers;
