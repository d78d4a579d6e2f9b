//! The objects loaded in this process (executable, libraries, vdso): where their code is and how it unwinds.

mod loader;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use self::loader::{Generation, Object};
use crate::unwind::Unwinder;

/// The latest capture, good for as long as the loader's list does not change.
static LATEST: Mutex<Option<Arc<Images>>> = Mutex::new(None);

/// One loaded object, as it was when it was captured.
#[derive(Debug)]
pub struct Image {
    name: PathBuf,
    bias: usize,
    span: Range<usize>,
    code: Vec<Range<usize>>,
    tables: Option<TablesAt>,
    copied: OnceLock<UnwindTables>,
}

/// Where an object's unwind tables lie in this process.
#[derive(Clone, Debug)]
pub(crate) struct TablesAt {
    /// `.eh_frame_hdr`, the search table.
    pub(crate) eh_frame_hdr: Range<usize>,
    /// The start of `.eh_frame`; only its contents tell where it ends.
    pub(crate) eh_frame: usize,
}

/// A copy of an object's unwind tables; empty if it had none, or was unloaded before they were asked for.
#[derive(Debug, Default)]
pub(crate) struct UnwindTables {
    pub(crate) eh_frame_hdr: Box<[u8]>,
    pub(crate) eh_frame: Box<[u8]>,
}

impl Image {
    /// The file the object was loaded from, as the loader was told; empty for the executable itself.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// What is added to an address in the object's file to get the address in this process; it may wrap.
    #[must_use]
    pub fn bias(&self) -> usize {
        self.bias
    }

    /// The object's executable ranges.
    #[must_use]
    pub fn code(&self) -> &[Range<usize>] {
        &self.code
    }

    /// From the first to the last byte that the object has in memory.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where the unwind tables are, if the object has any that can be searched.
    pub(crate) fn tables_at(&self) -> Option<&TablesAt> {
        self.tables.as_ref()
    }

    /// The unwind tables, copied out of the object at the first call.
    ///
    /// The copy is what makes a capture safe to keep: a table read in place could be unmapped by `dlclose` at any
    /// moment. The copying itself happens under the loader's lock, after the object was found again on its list.
    pub(crate) fn tables(&self) -> &UnwindTables {
        self.copied.get_or_init(|| self.copy_tables().unwrap_or_default())
    }

    fn copy_tables(&self) -> Option<UnwindTables> {
        let at = self.tables.as_ref()?;
        let mut copied = None;
        loader::visit(&mut |object| {
            if object.bias() != self.bias || object.name() != self.name.as_os_str() {
                return ControlFlow::Continue(());
            }
            copied = UnwindTables::copy(object, at);
            ControlFlow::Break(())
        });
        copied
    }

    /// `None` for an object that has nothing in memory.
    fn new(object: &Object<'_>) -> Option<Self> {
        let loaded = || object.segments(libc::PT_LOAD, 0).filter(|range| !range.is_empty());
        let start = loaded().map(|range| range.start).min()?;
        let end = loaded().map(|range| range.end).max()?;
        let code = object.segments(libc::PT_LOAD, libc::PF_X).filter(|range| !range.is_empty()).collect();
        Some(Self {
            name: object.name().into(),
            bias: object.bias(),
            span: start..end,
            code,
            tables: TablesAt::find(object),
            copied: OnceLock::new(),
        })
    }
}

impl TablesAt {
    fn find(object: &Object<'_>) -> Option<Self> {
        let eh_frame_hdr = object.segments(libc::PT_GNU_EH_FRAME, 0).next()?;
        // Linux Standard Base, "Exception Frame Header": version, three encodings, then the address of `.eh_frame`.
        let mut head = [0; 8];
        object.read(eh_frame_hdr.start, &mut head)?;
        let [1, PC_RELATIVE_I32, _, _, offset @ ..] = head else { return None };
        let offset = i32::from_le_bytes(offset);
        let eh_frame = eh_frame_hdr.start.checked_add(4)?.checked_add_signed(offset as isize)?;
        Some(Self { eh_frame_hdr, eh_frame })
    }
}

/// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`: what GNU ld, gold, lld and mold write for the address of `.eh_frame`.
const PC_RELATIVE_I32: u8 = 0x1b;

impl UnwindTables {
    fn copy(object: &Object<'_>, at: &TablesAt) -> Option<Self> {
        let mut eh_frame_hdr = vec![0; at.eh_frame_hdr.len()];
        object.read(at.eh_frame_hdr.start, &mut eh_frame_hdr)?;
        let segment = object.read_only_segment(at.eh_frame)?;
        let mut eh_frame = vec![0; segment.end - at.eh_frame];
        object.read(at.eh_frame, &mut eh_frame)?;
        eh_frame.truncate(eh_frame_length_bytes(&eh_frame));
        Some(Self { eh_frame_hdr: eh_frame_hdr.into(), eh_frame: eh_frame.into() })
    }
}

/// How much of `bytes`, which start with an `.eh_frame`, belongs to it: up to and with the record of length zero.
fn eh_frame_length_bytes(bytes: &[u8]) -> usize {
    let word = |at: usize| bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes);
    let mut end = 0;
    while let Some(length) = word(end) {
        end += 4;
        match length {
            0 => return end,
            // A record of 4 GiB or more, which a capture does not expect: keep what there is.
            u32::MAX => break,
            _ => end = end.saturating_add(length as usize),
        }
    }
    bytes.len()
}

/// The objects that were loaded in this process at one moment.
///
/// Addresses in it mean something in this process and in forks of it, and only for objects that are still loaded. It
/// holds copies and numbers, never references into an object, so it stays safe to use whatever is unloaded later.
pub struct Images {
    generation: Option<Generation>,
    /// Sorted by start.
    images: Vec<Arc<Image>>,
    /// Sorted by start.
    code: Vec<Range<usize>>,
    pub(crate) unwinder: OnceLock<Unwinder>,
}

impl Images {
    /// The objects loaded now.
    ///
    /// Not for signal handlers: it takes the loader's lock and may allocate.
    ///
    /// # Cost
    /// One short hold of the loader's lock while nothing was loaded or unloaded since the last capture, which is then
    /// shared; else a walk over all program headers. No system calls, and no unwind table is read before it is needed.
    #[must_use]
    pub fn capture() -> Arc<Self> {
        // `try_lock`: in a fork of a process whose other thread held the lock nobody would ever release it.
        let latest = LATEST.try_lock().ok().and_then(|latest| latest.clone());
        if let Some(latest) = &latest
            && latest.generation == generation()
            && latest.generation.is_some()
        {
            return Arc::clone(latest);
        }
        let images = Arc::new(Self::read(latest.as_deref()));
        if let Ok(mut latest) = LATEST.try_lock() {
            *latest = Some(Arc::clone(&images));
        }
        images
    }

    /// Walks the loader's list. What `previous` knows of an object is shared if nothing was unloaded since.
    fn read(previous: Option<&Self>) -> Self {
        let mut generation = None;
        let mut images: Vec<Arc<Image>> = Vec::new();
        loader::visit(&mut |object| {
            let now = object.generation();
            generation = Some(now);
            let known = previous
                .filter(|previous| previous.generation.is_some_and(|then| then.subs == now.subs))
                .and_then(|previous| {
                    previous
                        .images
                        .iter()
                        .find(|image| image.bias == object.bias() && image.name.as_os_str() == object.name())
                });
            match known {
                Some(image) => images.push(Arc::clone(image)),
                None => images.extend(Image::new(object).map(Arc::new)),
            }
            ControlFlow::Continue(())
        });
        images.sort_by_key(|image| image.span.start);
        let mut code: Vec<_> = images.iter().flat_map(|image| image.code.iter().cloned()).collect();
        code.sort_by_key(|range| range.start);
        Self { generation, images, code, unwinder: OnceLock::new() }
    }

    /// Whether `address` is in the executable part of an object of this capture.
    ///
    /// `false` for a function of a library that was loaded later, for generated code and for data. It does not say
    /// that an instruction begins there.
    ///
    /// # Cost
    /// A binary search over about as many ranges as there are objects.
    #[must_use]
    pub fn contains_code(&self, address: usize) -> bool {
        let after = self.code.partition_point(|range| range.start <= address);
        after.checked_sub(1).and_then(|at| self.code.get(at)).is_some_and(|range| range.contains(&address))
    }

    /// The object that has `address` between its first and its last byte.
    #[must_use]
    pub fn object_at(&self, address: usize) -> Option<&Image> {
        let after = self.images.partition_point(|image| image.span.start <= address);
        let image = self.images.get(after.checked_sub(1)?)?;
        image.span.contains(&address).then_some(image.as_ref())
    }

    /// All objects, by rising address.
    pub(crate) fn all(&self) -> &[Arc<Image>] {
        &self.images
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("generation", &self.generation)
            .field("images", &self.images)
            .finish_non_exhaustive()
    }
}

/// The loader's counters now.
fn generation() -> Option<Generation> {
    let mut generation = None;
    loader::visit(&mut |object| {
        generation = Some(object.generation());
        ControlFlow::Break(())
    });
    generation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_foreign_functions_are_code_and_data_is_not() {
        static DATA: [u8; 8] = [1; 8];
        let images = Images::capture();
        let heap = Box::new(0_u64);
        assert!(images.contains_code(own_and_foreign_functions_are_code_and_data_is_not as fn() as usize));
        assert!(images.contains_code(libc::getpid as unsafe extern "C" fn() -> i32 as usize));
        assert!(!images.contains_code((&raw const DATA).addr()));
        assert!(!images.contains_code((&raw const *heap).addr()));
        assert!(!images.contains_code((&raw const heap).addr()));
        for wild in [0, 1, usize::MAX, usize::MAX - 4095, 1 << 47] {
            assert!(!images.contains_code(wild), "{wild:#x}");
        }
    }

    #[test]
    fn the_edges_of_a_code_range_are_exact() {
        let images = Images::capture();
        for range in images.all().iter().flat_map(|image| image.code()) {
            assert!(images.contains_code(range.start));
            assert!(images.contains_code(range.end - 1));
            assert!(!images.contains_code(range.start - 1));
            assert!(!images.contains_code(range.end));
        }
    }

    #[test]
    fn an_address_belongs_to_the_object_that_holds_it() {
        let images = Images::capture();
        let libc = images.object_at(libc::getpid as unsafe extern "C" fn() -> i32 as usize);
        assert!(libc.is_some_and(|image| image.name().to_string_lossy().contains("libc")));
        let own = images.object_at(the_edges_of_a_code_range_are_exact as fn() as usize);
        assert!(own.is_some_and(|image| image.name() == Path::new("")));
        assert!(images.object_at(0).is_none());
        assert!(images.object_at(usize::MAX).is_none());
    }

    #[test]
    fn the_tables_of_every_usual_object_are_found_and_copied() {
        let images = Images::capture();
        for name in ["libc.so", "libgcc_s.so", "linux-vdso.so"] {
            let image = images.all().iter().find(|image| image.name().to_string_lossy().contains(name));
            let image = image.unwrap_or_else(|| panic!("{name} is not loaded"));
            let tables = image.tables();
            assert_eq!(tables.eh_frame_hdr.first(), Some(&1), "{name}");
            assert!(tables.eh_frame.len() > 64, "{name}");
        }
    }

    #[test]
    fn a_table_ends_with_the_record_of_length_zero() {
        let table = [2, 0, 0, 0, 9, 9, 0, 0, 0, 0, 5, 5, 5];
        assert_eq!(eh_frame_length_bytes(&table), 10);
        let unterminated = [200, 0, 0, 0, 9, 9];
        assert_eq!(eh_frame_length_bytes(&unterminated), 6);
        let wide = [255, 255, 255, 255, 9, 9];
        assert_eq!(eh_frame_length_bytes(&wide), 6);
        assert_eq!(eh_frame_length_bytes(&[]), 0);
    }
}
