//! Where a listing goes on: the offsets of telldir and what they stand for.
//!
//! A position lies between two names. Its offset does not count names, for names come and go; it
//! says where it lies: at the shortest string that is above the name in front and not above the
//! name behind. That string is written against a *mark*, another string of this kind, which the
//! handle keeps: the number of the mark, how many bytes both have in common, and up to four bytes
//! more. When four are not enough the string itself becomes the next mark. So offsets are exact
//! however old they are and whatever happens to the names around them, and the marks are few: one
//! for some thousands of names that end in numbers.
//!
//! | bits | of an offset |
//! |---|---|
//! | 63 | zero: offsets are signed for lseek |
//! | 40..63 | the number of the mark, from 1 on; above those of `.` and `..` |
//! | 32..40 | bytes in common with the mark |
//! | 0..32 | the bytes behind them, from the highest; 0 where there are fewer, for names hold no NUL |
//!
//! Names that are long and differ late, in pairs, need a mark each. Marks hold at most
//! [`MARK_BYTES_MAX`]; beyond, every second one of the older half is given up. A position written
//! against such a mark is taken for that of an earlier one: names may come again, none is missed.

use std::borrow::Cow;

/// Memory for the marks of one handle.
const MARK_BYTES_MAX: usize = 256 << 10;
/// The offsets of `.` and `..`.
pub(super) const SELF_OFFSET: u64 = 1;
pub(super) const PARENT_OFFSET: u64 = 2;

const SUFFIX_BYTES_MAX: usize = 4;
const SHARED_BYTES_MAX: usize = 0xff;
const SHARED_SHIFT: u32 = 32;
const MARK_SHIFT: u32 = 40;
/// Numbers of marks in an offset, which are counted on from 1 when all were used.
const MARK_NUMBERS: u64 = (1 << 23) - 1;

/// A string that offsets are written against.
struct Mark {
    /// In the order in which marks were made.
    number: u64,
    text: Box<[u8]>,
}

impl Mark {
    fn bytes(&self) -> usize {
        // An allocation takes some bytes beside its own.
        size_of::<Self>() + self.text.len() + 16
    }
}

/// The positions that one handle has given.
pub(super) struct Positions {
    /// In the order of their texts.
    marks: Vec<Mark>,
    /// The number of the mark made last; 0 when there was none.
    newest: u64,
    bytes: usize,
    /// Whether marks were made in the order of their texts: nothing was listed again that changed.
    is_rising: bool,
}

impl Positions {
    pub(super) fn new() -> Self {
        Self { marks: Vec::new(), newest: 0, bytes: 0, is_rising: true }
    }

    /// The offset of the position between a name and the one that follows it, or behind the last
    /// name.
    pub(super) fn between(&mut self, name: &[u8], following: Option<&[u8]>) -> u64 {
        let at = separator(name, following);
        let known = self.marks.last().and_then(|mark| written(&at, mark));
        known.or_else(|| self.near(&at)).unwrap_or_else(|| self.make_mark(&at))
    }

    /// The offset of a string, if one of the marks around it will do.
    fn near(&self, at: &[u8]) -> Option<u64> {
        let index = self.index_above(at);
        let around = &self.marks[index.saturating_sub(1)..self.marks.len().min(index + 1)];
        around.iter().find_map(|mark| written(at, mark))
    }

    fn index_above(&self, at: &[u8]) -> usize {
        self.marks.partition_point(|mark| *mark.text <= *at)
    }

    fn make_mark(&mut self, at: &[u8]) -> u64 {
        // What is behind a name of the greatest length is one byte longer than an offset can share.
        let (text, suffix) = at.split_at(at.len().min(SHARED_BYTES_MAX));
        self.newest += 1;
        let offset = offset_of(self.newest, text.len(), suffix);
        let mark = Mark { number: self.newest, text: text.into() };
        self.bytes += mark.bytes();
        let index = self.index_above(text);
        self.is_rising &= index == self.marks.len();
        self.marks.insert(index, mark);
        if self.bytes > MARK_BYTES_MAX {
            self.thin_out();
        }
        offset
    }

    /// Gives up every second mark of the older half.
    fn thin_out(&mut self) {
        let mut numbers: Vec<u64> = self.marks.iter().map(|mark| mark.number).collect();
        let middle = numbers.len() / 2;
        let (_, &mut younger, _) = numbers.select_nth_unstable(middle);
        let mut older = 0;
        self.marks.retain(|mark| {
            older += usize::from(mark.number < younger);
            mark.number >= younger || older % 2 == 1
        });
        self.bytes = self.marks.iter().map(Mark::bytes).sum();
    }

    /// What a listing goes on with: the names at or above this string. None for an offset that
    /// was never given.
    pub(super) fn start(&self, offset: u64) -> Option<Vec<u8>> {
        if offset <= PARENT_OFFSET {
            return Some(Vec::new());
        }
        let number = self.whole_number(offset >> MARK_SHIFT)?;
        let Some(mark) = self.marks.iter().find(|mark| mark.number == number) else {
            return Some(self.start_before(number));
        };
        let shared = usize::try_from(offset >> SHARED_SHIFT & 0xff).ok()?;
        let mut start = mark.text.get(..shared)?.to_vec();
        let [_, _, _, _, suffix @ ..] = offset.to_be_bytes();
        start.extend(suffix.into_iter().take_while(|&byte| byte != 0));
        Some(start)
    }

    /// Something in front of all positions that were written against a mark that was given up.
    fn start_before(&self, number: u64) -> Vec<u8> {
        let before = self.marks.iter().rev().find(|mark| mark.number < number);
        before.filter(|_| self.is_rising).map_or_else(Vec::new, |mark| mark.text.to_vec())
    }

    /// The newest mark that has these low bits of its number.
    fn whole_number(&self, low: u64) -> Option<u64> {
        let newest = Some(self.newest).filter(|&number| number != 0 && low != 0)?;
        let back = (low_number(newest) + MARK_NUMBERS).checked_sub(low)? % MARK_NUMBERS;
        newest.checked_sub(back).filter(|&number| number != 0)
    }
}

/// The part of a mark's number that an offset holds: 1 and up.
fn low_number(number: u64) -> u64 {
    (number - 1) % MARK_NUMBERS + 1
}

fn offset_of(number: u64, shared: usize, suffix: &[u8]) -> u64 {
    let mut bytes = [0; SUFFIX_BYTES_MAX];
    bytes[..suffix.len()].copy_from_slice(suffix);
    let shared = shared.min(SHARED_BYTES_MAX) as u64;
    low_number(number) << MARK_SHIFT | shared << SHARED_SHIFT | u64::from(u32::from_be_bytes(bytes))
}

/// The offset of a string, if it can be written against the mark.
fn written(at: &[u8], mark: &Mark) -> Option<u64> {
    let shared = common_bytes(at, &mark.text);
    let suffix = at.get(shared..).filter(|suffix| suffix.len() <= SUFFIX_BYTES_MAX)?;
    Some(offset_of(mark.number, shared, suffix))
}

/// The shortest string above `name` and not above what follows.
fn separator<'a>(name: &[u8], following: Option<&'a [u8]>) -> Cow<'a, [u8]> {
    match following {
        Some(following) if following > name => {
            Cow::Borrowed(&following[..=common_bytes(name, following)])
        }
        _ => {
            let mut above = Vec::with_capacity(name.len() + 1);
            set_behind(&mut above, name);
            Cow::Owned(above)
        }
    }
}

/// Makes this the lowest string above a name.
pub(super) fn set_behind(above: &mut Vec<u8>, name: &[u8]) {
    above.clear();
    above.extend_from_slice(name);
    above.push(1);
}

fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands all names out and checks that each position falls between its two names.
    fn check(names: &[Vec<u8>]) -> Positions {
        let mut positions = Positions::new();
        let mut given = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let following = names.get(index + 1).map(Vec::as_slice);
            given.push(positions.between(name, following));
        }
        for (index, offset) in given.iter().enumerate() {
            assert!(*offset > PARENT_OFFSET && i64::try_from(*offset).is_ok());
            let start = positions.start(*offset).expect("given");
            assert!(start > names[index], "{start:?} behind {:?}", names[index]);
            if let Some(following) = names.get(index + 1) {
                assert!(start <= *following, "{start:?} in front of {following:?}");
            }
        }
        let mut distinct = given.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), given.len());
        positions
    }

    /// Distinct numbers in a disorder that is the same every time.
    fn scattered(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn every_position_lies_between_its_names() {
        let numbered: Vec<_> =
            (0..200_000).map(|n| format!("frame-{n:09}.jpg").into_bytes()).collect();
        let positions = check(&numbered);
        assert!(positions.marks.len() < 50, "{} marks", positions.marks.len());

        let mut hashed: Vec<_> =
            (0..200_000).map(|n| format!("{:016x}.bin", scattered(n)).into_bytes()).collect();
        hashed.sort_unstable();
        assert!(check(&hashed).bytes < MARK_BYTES_MAX);

        let mut odd: Vec<Vec<u8>> = (1..=255).map(|byte| vec![byte]).collect();
        odd.extend((1..=255).map(|bytes| vec![b'a'; bytes]));
        odd.extend((1..=254).map(|bytes| [vec![b'a'; bytes], vec![255]].concat()));
        odd.push(vec![255; 255]);
        odd.sort_unstable();
        odd.dedup();
        check(&odd);
        check(&[vec![b'x'; 255]]);
    }

    #[test]
    fn a_part_that_is_listed_again_gets_positions_as_good() {
        let names: Vec<_> = (0..2_000).map(|n| format!("{n:06}-{n:06}").into_bytes()).collect();
        let mut positions = check(&names);
        let marks = positions.marks.len();
        for _ in 0..10 {
            for pair in names.windows(2) {
                positions.between(&pair[0], Some(&pair[1]));
            }
        }
        assert!(positions.marks.len() <= marks + 1, "the marks that are there are used again");
        for index in [0, 1, 1_700, 1_998, 3] {
            let offset = positions.between(&names[index], Some(&names[index + 1]));
            let start = positions.start(offset).expect("given");
            assert!(start > names[index] && start <= names[index + 1]);
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_given_up_misses_nothing() {
        let name = |n: u64| {
            let kind = if n.is_multiple_of(2) { "data" } else { "meta" };
            format!("{:08}-{:0200}.{kind}", n / 2, scattered(n / 2)).into_bytes()
        };
        let mut positions = Positions::new();
        let total = 40_000;
        let given: Vec<u64> =
            (0..total).map(|n| positions.between(&name(n), Some(&name(n + 1)))).collect();
        assert!(positions.bytes <= MARK_BYTES_MAX);
        for (n, offset) in (0..total).zip(given) {
            let start = positions.start(offset).expect("given");
            assert!(start <= name(n + 1), "a name is missed");
            assert!(start > name(n) || n + 300 < total, "the newest are exact");
        }
    }

    #[test]
    fn positions_that_were_never_given_are_refused() {
        let mut positions = Positions::new();
        assert_eq!(positions.start(PARENT_OFFSET), Some(Vec::new()));
        assert_eq!(positions.start(3), None);
        let offset = positions.between(b"a", Some(b"b"));
        assert_eq!(positions.start(offset), Some(b"b".to_vec()));
        assert_eq!(positions.start(offset + (1 << MARK_SHIFT)), None);
        assert_eq!(positions.start(offset | 0xff << SHARED_SHIFT), None);
        assert_eq!(positions.start(u64::MAX), None);
    }

    #[test]
    fn numbers_of_marks_may_run_out() {
        let mut positions = Positions::new();
        positions.between(b"a", Some(b"b"));
        positions.newest = MARK_NUMBERS - 1;
        for n in 0..4_u8 {
            let name = [&[b'c' + n][..], b"-long-name"].concat();
            let offset = positions.between(&name, None);
            assert_eq!(positions.start(offset), Some([&name[..], &[1]].concat()));
        }
        assert_eq!(positions.newest, MARK_NUMBERS + 3);
    }
}
