//! Room on the drives, and which of them takes the next shards.

use std::collections::BTreeMap;

use nix::sys::statvfs::statvfs;

use super::Roots;
use crate::cast;
use crate::error::{Error, Result};
use crate::operation::Operation;
use crate::root_id::RootId;

/// Room, in bytes. `available` is what may still be used: free space less the reserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DriveSpace {
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) available: u64,
}

/// A root that may take shards.
#[derive(Clone, Copy, Debug)]
struct EligibleRoot {
    root: RootId,
    device: u64,
}

impl Roots {
    /// The room on all drives that work. Roots on one drive count once.
    pub(crate) fn space(&self) -> DriveSpace {
        let mut sum = DriveSpace::default();
        for space in self.devices().values() {
            sum.total = sum.total.saturating_add(space.total);
            sum.free = sum.free.saturating_add(space.free);
            sum.available = sum.available.saturating_add(space.available);
        }
        sum
    }

    /// The room on the drive of one root.
    pub(crate) fn space_of(&self, root: RootId) -> Result<DriveSpace> {
        let path = self.dir(root);
        let answer = statvfs(&**path)
            .map_err(|errno| Error::io(Operation::Stat, path, Some(root), errno.into()))?;
        let fragment = answer.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(fragment);
        let usable = bytes(answer.blocks_available());
        Ok(DriveSpace {
            total: bytes(answer.blocks()),
            free: bytes(answer.blocks_free()),
            available: usable.saturating_sub(self.reserve_bytes),
        })
    }

    /// The room on each drive. A root that does not even answer this is marked failed.
    fn devices(&self) -> BTreeMap<u64, DriveSpace> {
        let mut devices = BTreeMap::new();
        for root in self.ids().filter(|&root| !self.is_failed(root)) {
            match self.space_of(root) {
                Ok(space) => drop(devices.insert(self.device(root), space)),
                Err(error) => self.mark_failed(root, &error.to_string()),
            }
        }
        devices
    }

    /// The roots that take the `shards` of a new segment, one entry for each shard in order.
    ///
    /// Full and failed roots are left out. With at least as many shards as roots every root gets
    /// one, starting with another root for every segment; the rest, or all when there are fewer,
    /// go to where most room is left.
    pub(crate) fn place(
        &self,
        shards: usize,
        segment_number: u32,
        expected_bytes: u64,
    ) -> Result<Vec<RootId>> {
        let devices = self.devices();
        let places: Vec<EligibleRoot> = self
            .ids()
            .filter(|&root| !self.is_failed(root))
            .map(|root| EligibleRoot { root, device: self.device(root) })
            .collect();
        let available = devices.iter().map(|(&device, space)| (device, space.available)).collect();
        let share = expected_bytes / (shards.max(1) as u64);
        choose(&places, available, shards, segment_number, share).ok_or_else(|| self.no_space())
    }

    /// The error that no root has room, with the room of each. When all of them have failed that is
    /// no lack of room, and nobody should be told to make some.
    pub(crate) fn no_space(&self) -> Error {
        let roots = self.describe_space();
        match self.ids().next() {
            Some(first) if self.ids().all(|root| self.is_failed(root)) => {
                let reason = format!("no root takes files any more: {roots}");
                Error::Root { root: self.dir(first).to_path_buf(), reason }
            }
            _ => Error::NoSpace { roots },
        }
    }

    /// Every root with its room, for messages.
    fn describe_space(&self) -> String {
        let describe = |root: RootId| {
            let path = self.dir(root).display();
            match (self.failure(root), self.space_of(root)) {
                (Some(reason), _) => format!("{path} has failed ({reason})"),
                (None, Ok(space)) => {
                    let (free, reserve) = (space.free >> 20, self.reserve_bytes >> 20);
                    format!("{path} has {free} MiB free, of which {reserve} MiB are kept free")
                }
                (None, Err(error)) => format!("{path}: {error}"),
            }
        };
        let roots: Vec<String> = self.ids().map(describe).collect();
        roots.join("; ")
    }
}

/// Places shards of about `share` bytes; none when no root has any room.
fn choose(
    places: &[EligibleRoot],
    mut available: BTreeMap<u64, u64>,
    shards: usize,
    segment_number: u32,
    share: u64,
) -> Option<Vec<RootId>> {
    let room = |available: &BTreeMap<u64, u64>, place: &EligibleRoot| {
        available.get(&place.device).copied().unwrap_or(0)
    };
    // Roots with room for a shard; when there is none, those with any room at all, so that the
    // last bytes of a nearly full database can be used.
    let mut eligible: Vec<EligibleRoot> =
        places.iter().filter(|place| room(&available, place) > share).copied().collect();
    if eligible.is_empty() {
        eligible = places.iter().filter(|place| room(&available, place) > 0).copied().collect();
    }
    if eligible.is_empty() {
        return None;
    }
    let start = cast::to_usize(segment_number) % eligible.len();
    eligible.rotate_left(start);
    let mut chosen = Vec::with_capacity(shards);
    if shards >= eligible.len() {
        for place in &eligible {
            chosen.push(place.root);
            take(&mut available, place, share);
        }
    }
    // How often a root was chosen: roots on one drive, or on drives that are equally free, take
    // turns. Room is compared in whole shares, so that nearly equal drives count as equal.
    let mut turns = vec![chosen.len() / eligible.len(); eligible.len()];
    while chosen.len() < shards {
        let best = (0..eligible.len()).min_by_key(|&index| {
            let rooms = room(&available, &eligible[index]) / share.max(1);
            (std::cmp::Reverse(rooms), turns[index], index)
        })?;
        chosen.push(eligible[best].root);
        turns[best] += 1;
        take(&mut available, &eligible[best], share);
    }
    Some(chosen)
}

fn take(available: &mut BTreeMap<u64, u64>, place: &EligibleRoot, share: u64) {
    if let Some(left) = available.get_mut(&place.device) {
        *left = left.saturating_sub(share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Roots 0, 1, ... on the given devices, with room per device.
    fn chosen(
        devices: &[u64],
        room: &[(u64, u64)],
        shards: usize,
        segment: u32,
        share: u64,
    ) -> Option<Vec<usize>> {
        let places: Vec<EligibleRoot> = (0..)
            .zip(devices)
            .map(|(root, &device)| EligibleRoot { root: RootId::nth(root).unwrap(), device })
            .collect();
        let available = room.iter().copied().collect();
        choose(&places, available, shards, segment, share)
            .map(|roots| roots.iter().map(|root| root.position()).collect())
    }

    #[test]
    fn every_root_gets_a_shard_and_the_start_rotates() {
        let room = [(1, 1000), (2, 1000), (3, 1000)];
        assert_eq!(chosen(&[1, 2, 3], &room, 3, 0, 10), Some(vec![0, 1, 2]));
        assert_eq!(chosen(&[1, 2, 3], &room, 3, 1, 10), Some(vec![1, 2, 0]));
        let four = chosen(&[1, 2, 3], &room, 4, 2, 10).expect("room");
        assert_eq!(four[..3], [2, 0, 1]);
        assert_eq!(chosen(&[1, 2, 3], &room, 1, 5, 10), Some(vec![2]));
    }

    #[test]
    fn the_rest_goes_where_most_room_is() {
        let room = [(1, 100), (2, 1000)];
        let roots = chosen(&[1, 2], &room, 8, 0, 10).expect("room");
        assert_eq!(roots.iter().filter(|&&root| root == 0).count(), 1);
        assert_eq!(chosen(&[1, 2], &room, 1, 0, 10), Some(vec![1]));
        assert_eq!(chosen(&[1, 2], &room, 1, 1, 10), Some(vec![1]));
    }

    #[test]
    fn roots_on_one_drive_take_turns() {
        let roots = chosen(&[1, 1], &[(1, 1000)], 6, 0, 10).expect("room");
        assert_eq!(roots.iter().filter(|&&root| root == 0).count(), 3);
    }

    #[test]
    fn full_roots_are_left_out() {
        let room = [(1, 5), (2, 1000)];
        assert_eq!(chosen(&[1, 2], &room, 3, 0, 10), Some(vec![1, 1, 1]));
        assert_eq!(chosen(&[1, 2], &[(1, 5), (2, 0)], 2, 0, 10), Some(vec![0, 0]));
        assert_eq!(chosen(&[1, 2], &[(1, 0), (2, 0)], 2, 0, 10), None);
        assert_eq!(chosen(&[], &[], 2, 0, 10), None);
        assert_eq!(chosen(&[1], &[(1, 10)], 0, 0, 0), Some(vec![]));
    }
}
