//! Which root of an open database something is in.

use std::fmt;

/// One of the roots of an open database: its position among those that were found, in the order in
/// which they were given. It says nothing about the same database opened another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootId(u16);

impl RootId {
    /// The first root. Every database has one.
    pub(crate) const FIRST: Self = Self(0);

    /// The root at this position, counted from 0; `None` beyond the 65536 that a database can have.
    pub(crate) fn nth(position: usize) -> Option<Self> {
        u16::try_from(position).ok().map(Self)
    }

    /// Its position, counted from 0.
    #[must_use]
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for RootId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
