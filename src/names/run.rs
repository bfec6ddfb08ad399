//! Reads a run: the names of one sealed segment.
//!
//! An open run keeps its footer and nothing else in memory; blocks and filter pages come through
//! the shared cache, and the file comes from a [`FileSource`], so that neither memory nor
//! descriptors grow with keys or segments. Everything read is verified before it is used, once as
//! long as it stays in the cache. A damaged block costs the names in it; the others stay readable.

use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "testing")]
use crate::disk::Disk;
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::entry::Mention;
use crate::format::key_hash::KeyHash;
use crate::format::location::SegmentNumber;
use crate::format::run_block::{RunBlock, Walk};
use crate::format::run_bloom::BloomPage;
use crate::format::run_entry::MentionDecoder;
use crate::format::run_footer::{RUN_FOOTER_BYTES, RunFooter, RunSummary};
use crate::format::run_header::{self, RUN_HEADER_BYTES};
use crate::format::run_index::{self, BlockPlace};
use crate::names::cache::{BlockCache, CacheOwner, Cached};

/// Where a run gets its file from whenever it reads: a cache of descriptors, or a plain open.
pub(crate) trait FileSource: Send + Sync {
    /// The file, open for reading.
    fn file(&self) -> Result<Arc<DiskFile>>;
}

impl<F: Fn() -> Result<Arc<DiskFile>> + Send + Sync> FileSource for F {
    fn file(&self) -> Result<Arc<DiskFile>> {
        self()
    }
}

/// Opens the file anew for each read.
#[cfg(feature = "testing")]
#[derive(Clone, Debug)]
pub(crate) struct PathSource {
    /// The way to the file system.
    pub(crate) disk: Disk,
    /// The file.
    pub(crate) path: PathBuf,
}

#[cfg(feature = "testing")]
impl FileSource for PathSource {
    fn file(&self) -> Result<Arc<DiskFile>> {
        Ok(Arc::new(self.disk.open(&self.path)?))
    }
}

/// An open run.
pub(crate) struct Run {
    files: Box<dyn FileSource>,
    cache: Arc<BlockCache>,
    owner: CacheOwner,
    path: PathBuf,
    footer: RunFooter,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Run").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Run {
    /// Opens a run, which must be that of `segment` in `table`. Reads header and footer only.
    pub(crate) fn open(
        files: Box<dyn FileSource>,
        cache: Arc<BlockCache>,
        table: [u8; 16],
        segment: SegmentNumber,
    ) -> Result<Self> {
        let file = files.file()?;
        let path = file.path().to_path_buf();
        let file_bytes = file.len()?;
        let mut header = [0; RUN_HEADER_BYTES];
        let count = file.read_at(&mut header, 0)?;
        run_header::check(&header[..count]).map_err(|malformed| malformed.in_file(&path, 0))?;
        let least = (RUN_HEADER_BYTES + RUN_FOOTER_BYTES) as u64;
        if file_bytes < least {
            let reason = format!("it has {file_bytes} bytes; a run has at least {least}");
            return Err(Error::corrupt(&path, file_bytes, reason));
        }
        let footer_at = file_bytes - RUN_FOOTER_BYTES as u64;
        let mut footer = [0; RUN_FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)?;
        let footer = RunFooter::decode(&footer, file_bytes)
            .map_err(|malformed| malformed.in_file(&path, footer_at))?;
        if footer.table != table {
            return Err(Error::corrupt(&path, footer_at + 16, "it belongs to another table"));
        }
        if footer.segment != segment {
            let reason = format!("it is the run of segment {}, not {segment}", footer.segment);
            return Err(Error::corrupt(&path, footer_at + 12, reason));
        }
        let owner = cache.new_owner();
        Ok(Self { files, cache, owner, path, footer })
    }

    /// What the run holds.
    pub(crate) fn summary(&self) -> &RunSummary {
        &self.footer.summary
    }

    /// The segment whose names these are.
    pub(crate) fn segment(&self) -> SegmentNumber {
        self.footer.segment
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn footer(&self) -> &RunFooter {
        &self.footer
    }

    pub(super) fn file(&self) -> Result<Arc<DiskFile>> {
        self.files.file()
    }

    /// The error for something wrong in the part of the file that begins at `base`.
    pub(super) fn malformed(&self, base: u64) -> impl Fn(Malformed) -> Error {
        move |malformed| malformed.in_file(&self.path, base)
    }

    /// A verified block, which must be of `level`.
    pub(super) fn block(&self, place: BlockPlace, level: u8) -> Result<Arc<RunBlock>> {
        let block = match self.cache.get(self.owner, place.position) {
            Some(Cached::Block(block)) => block,
            Some(Cached::Bloom(_)) | None => self.read_block(place)?,
        };
        if block.level() != level {
            let reason = format!("a block of level {level} expected, {} found", block.level());
            return Err(Error::corrupt(&self.path, place.position, reason));
        }
        Ok(block)
    }

    fn read_block(&self, place: BlockPlace) -> Result<Arc<RunBlock>> {
        // Places come from decoding, which bounds their length.
        let mut bytes = vec![0; place.bytes as usize];
        self.files.file()?.read_exact_at(&mut bytes, place.position)?;
        let block =
            RunBlock::decode(bytes, place.position).map_err(self.malformed(place.position))?;
        let block = Arc::new(block);
        self.cache.insert(self.owner, place.position, Cached::Block(Arc::clone(&block)));
        Ok(block)
    }

    /// The block of entries in which `key` is, if it is anywhere.
    fn leaf_for(&self, key: &[u8]) -> Result<Option<Arc<RunBlock>>> {
        let Some((mut place, mut level)) = self.footer.root else { return Ok(None) };
        loop {
            let block = self.block(place, level)?;
            if level == 0 {
                return Ok(Some(block));
            }
            let child = block.restart_for(key).and_then(|number| run_index::child(&block, number));
            place = child.map_err(self.malformed(block.position()))?;
            level -= 1;
        }
    }

    /// What the segment says of a key. Reads one block of entries when the index is cached.
    pub(crate) fn get(&self, sort_key: &[u8]) -> Result<Option<Mention>> {
        let Some(block) = self.leaf_for(sort_key)? else { return Ok(None) };
        find(&block, sort_key, self.footer.segment).map_err(self.malformed(block.position()))
    }

    /// False only if nothing is said of any name directly in the folder with this hash.
    pub(crate) fn may_hold_folder(&self, folder: KeyHash) -> Result<bool> {
        if self.footer.bloom.pages == 0 {
            return Ok(false);
        }
        let number = self.footer.bloom.page_of(folder);
        Ok(self.bloom_page(number)?.may_hold(folder))
    }

    pub(super) fn bloom_page(&self, number: u32) -> Result<Arc<BloomPage>> {
        let bloom = self.footer.bloom;
        let position = self.footer.blocks_end + u64::from(number) * u64::from(bloom.page_bytes);
        if let Some(Cached::Bloom(page)) = self.cache.get(self.owner, position) {
            return Ok(page);
        }
        let mut bytes = vec![0; bloom.page_bytes as usize];
        self.files.file()?.read_exact_at(&mut bytes, position)?;
        let page = BloomPage::decode(bytes, number).map_err(self.malformed(position))?;
        let page = Arc::new(page);
        self.cache.insert(self.owner, position, Cached::Bloom(Arc::clone(&page)));
        Ok(page)
    }
}

/// Looks a key up in a block of entries.
fn find(
    block: &RunBlock,
    sort_key: &[u8],
    segment: SegmentNumber,
) -> Result<Option<Mention>, Malformed> {
    let mut walk = Walk::default();
    walk.start(block, block.restart_for(sort_key)?)?;
    let mut decoder = MentionDecoder::new(segment, block.base());
    while let Some((is_restart, mut fields)) = walk.step(block)? {
        let mention = decoder.decode(is_restart, &mut fields)?;
        walk.end_payload(&fields);
        match walk.key().cmp(sort_key) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(mention)),
            std::cmp::Ordering::Greater => return Ok(None),
        }
        if walk.is_at_group_end(block) {
            return Ok(None);
        }
    }
    Ok(None)
}
