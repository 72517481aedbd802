//! The Python module `eir._core`: what Python publishes, and checks for tests and tools.
//!
//! Segments and overlays are Python's memory, read in place: a buffer is held as long as tables that
//! need it live, and given back where Python is attached (see `Published`).

use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::case_table::{self, Pair};
use crate::check::{Question, Tables, Verdict};
use crate::generation::{Generation, same};
use crate::hashtable::HashTable;
use crate::memory::{Memory, View, Words, give_back};
use crate::overlay::{self, TABLES};
use crate::policy::{GATE_FIELDS, PolicyTables, STANDING_FIELDS};
use crate::published::Published;
use crate::segment::{Checksums, Segment};
use crate::{bulk, policy, shard};

fn refused(what: String) -> PyErr {
    PyValueError::new_err(what)
}

/// Takes a Python buffer of bytes without copying it.
fn memory_of(buffer: PyBuffer<u8>) -> PyResult<Arc<Memory>> {
    if !buffer.is_c_contiguous() {
        return Err(refused("the buffer is not contiguous".into()));
    }
    let (start, length) = (buffer.buf_ptr().cast(), buffer.len_bytes());
    // SAFETY: an exported buffer stays where it is until it is released, which dropping it does; that segments
    // and overlays never change once they are published is the contract of eir/native.py.
    Ok(unsafe { Memory::new(start, length, Box::new(buffer)) })
}

/// Views a Python buffer of bytes as numbers or records.
pub(crate) fn view_of<T: bytemuck::AnyBitPattern>(buffer: PyBuffer<u8>) -> PyResult<View<T>> {
    let memory = memory_of(buffer)?;
    View::new(&memory, 0..memory.bytes().len()).map_err(refused)
}

/// The numbers of a Python buffer, which only its caller uses meanwhile.
fn writable(buffer: &mut PyBuffer<u8>) -> PyResult<&mut [u64]> {
    if buffer.readonly() || !buffer.is_c_contiguous() {
        return Err(refused("the buffer is read-only, or not contiguous".into()));
    }
    if buffer.len_bytes() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: an exported buffer stays where it is until it is released; that nobody else uses the bytes
    // meanwhile is the contract of eir/native.py.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) };
    bytemuck::try_cast_slice_mut(bytes)
        .map_err(|_| refused("the buffer is not of whole, aligned numbers".into()))
}

type Arrays = (PyBuffer<u8>, PyBuffer<u8>);

fn tables_of(arrays: [Arrays; TABLES]) -> PyResult<overlay::Tables> {
    let mut tables: [HashTable; TABLES] = Default::default();
    for (table, (slots, words)) in tables.iter_mut().zip(arrays) {
        *table = HashTable::new(view_of(slots)?, view_of(words)?).map_err(refused)?;
    }
    Ok(overlay::Tables::new(tables))
}

/// A shard: the bytes of its file, whose checksums Python has verified unless it says otherwise.
#[pyclass(frozen)]
struct Shard(Arc<shard::Shard>);

#[pymethods]
impl Shard {
    #[new]
    #[pyo3(signature = (image, *, verify=false))]
    fn new(image: PyBuffer<u8>, verify: bool) -> PyResult<Self> {
        let checksums = if verify { Checksums::Verify } else { Checksums::Verified };
        let segment = Segment::parse(memory_of(image)?, checksums).map_err(refused)?;
        Ok(Self(Arc::new(shard::Shard::of(&segment).map_err(refused)?)))
    }

    /// Rows of many keys: their heads, where the words of each end, and all words; u64 as bytes.
    #[allow(clippy::needless_pass_by_value)]
    fn find_many<'py>(
        &self,
        py: Python<'py>,
        keys: PyBuffer<u8>,
        blocks: PyBuffer<u8>,
    ) -> PyResult<[Bound<'py, PyByteArray>; 3]> {
        let (keys, blocks): (View<u64>, View<u64>) = (view_of(keys)?, view_of(blocks)?);
        if self.0.blocks_min > blocks.len() as u64 {
            let (needed, known) = (self.0.blocks_min, blocks.len());
            return Err(refused(format!("packed by {needed} IMSI blocks; the dictionary has {known}")));
        }
        let rows = py.detach(|| bulk::find_many(&self.0, keys.iter().copied(), &blocks));
        Ok([rows.heads, rows.ends, rows.words]
            .map(|column| PyByteArray::new(py, bytemuck::cast_slice(&column))))
    }
}

/// Sorts numbers (u64 as bytes) in place; nobody else may use them meanwhile.
#[pyfunction]
fn sort(py: Python<'_>, mut numbers: PyBuffer<u8>) -> PyResult<()> {
    let numbers = writable(&mut numbers)?;
    py.detach(|| numbers.sort_unstable());
    Ok(())
}

/// An overlay: slots and words of its six tables.
#[pyclass(frozen)]
struct Overlay(Arc<overlay::Tables>);

#[pymethods]
impl Overlay {
    #[new]
    fn new(tables: [Arrays; TABLES]) -> PyResult<Self> {
        Ok(Self(Arc::new(tables_of(tables)?)))
    }
}

/// What is not split by TAC: six tables, and the dictionary of IMSI blocks.
#[pyclass(frozen)]
struct Common(Arc<overlay::Common>);

#[pymethods]
impl Common {
    #[new]
    fn new(tables: [Arrays; TABLES], blocks: PyBuffer<u8>) -> PyResult<Self> {
        Ok(Self(Arc::new(overlay::Common::new(tables_of(tables)?, view_of(blocks)?))))
    }
}

/// The slots of a case table, which Python changes while checks read them.
#[pyclass(frozen)]
struct CaseTable(Arc<case_table::CaseTable>);

#[pymethods]
impl CaseTable {
    #[new]
    fn new(slots: PyBuffer<u8>, bits: u32) -> PyResult<Self> {
        if !slots.is_c_contiguous() {
            return Err(refused("the buffer is not contiguous".into()));
        }
        let (start, length) = (slots.buf_ptr().cast(), slots.len_bytes());
        // SAFETY: as in `memory_of`; how the slots are written is the contract of eir/notify/case_table.py.
        let words = unsafe { Words::new(start, length, Box::new(slots)) }.map_err(refused)?;
        Ok(Self(Arc::new(case_table::CaseTable::new(words, bits).map_err(refused)?)))
    }
}

/// A compiled policy: placeholders, tables by date, status maps by client.
#[pyclass(frozen)]
struct Policy(Arc<policy::Policy>);

#[pymethods]
impl Policy {
    #[new]
    fn new(
        number: u64,
        placeholders: Vec<u64>,
        stretches: Vec<PolicyTables>,
        status_maps: Vec<(String, Vec<u8>)>,
    ) -> PyResult<Self> {
        let maps = status_maps.into_iter().map(|(client, map)| (client.into_bytes(), map)).collect();
        let policy = policy::Policy::new(number, placeholders, stretches, maps).map_err(refused)?;
        Ok(Self(Arc::new(policy)))
    }

    fn status_map(&self, client: &str) -> Vec<u8> {
        self.0.status_map(client.as_bytes()).to_vec()
    }
}

/// What checks are answered from, shared with the server's threads.
#[pyclass(frozen)]
pub struct Engine {
    /// Swapped at each publication.
    pub published: Arc<Published>,
}

type Answer = (u8, u8, u64, u64, bool, u32, Option<(u64, u64)>);

fn answer(verdict: Verdict) -> Answer {
    let Verdict { status, reason, deadline, serial, stale, cache_seconds, unpaired } = verdict;
    let unpaired = unpaired.map(|Pair { key, imsi }| (key, imsi));
    (status, reason, deadline, serial, stale, cache_seconds, unpaired)
}

impl Engine {
    fn tables(&self) -> PyResult<Arc<Tables>> {
        self.published.load().clone().ok_or_else(|| refused("nothing is published yet".into()))
    }
}

#[pymethods]
impl Engine {
    #[new]
    fn new() -> Self {
        Self { published: Arc::new(Published::new()) }
    }

    /// Replaces what checks read; `levels` are the newest first, `shards` in the order of their TACs.
    #[allow(clippy::too_many_arguments, clippy::needless_pass_by_value)]
    #[pyo3(signature = (*, serial, levels, shards, common, policy, exempt_types, allow_all, stale, cases))]
    fn publish(
        &self,
        py: Python<'_>,
        serial: u64,
        levels: Vec<PyRef<'_, Overlay>>,
        shards: Vec<PyRef<'_, Shard>>,
        common: PyRef<'_, Common>,
        policy: PyRef<'_, Policy>,
        exempt_types: Vec<bool>,
        allow_all: bool,
        stale: bool,
        cases: Option<PyRef<'_, CaseTable>>,
    ) -> PyResult<()> {
        let levels = levels.iter().map(|level| Arc::clone(&level.0)).collect();
        let shards: Vec<_> = shards.iter().map(|shard| Arc::clone(&shard.0)).collect();
        let common = Arc::clone(&common.0);
        // What is worked out of new shards takes a while: Python goes on meanwhile.
        let (generation, replaced) = py.detach(|| {
            let before = self.published.load();
            let before = before.as_ref().map(|tables| &*tables.generation);
            let replaced = before.is_some_and(|before| !same(&before.shards, &shards));
            (Generation::new(serial, levels, shards, common, before), replaced)
        });
        let generation = generation.map_err(refused)?;
        self.published.publish(Tables {
            generation: Arc::new(generation),
            policy: Arc::clone(&policy.0),
            exempt_types,
            allow_all,
            stale,
            cases: cases.map(|cases| Arc::clone(&cases.0)),
        });
        if replaced {
            py.detach(give_back);
        }
        Ok(())
    }

    /// Frees what no reader holds any more; returns how many publications are still held.
    fn free_retired(&self) -> usize {
        self.published.free_retired()
    }

    /// Judges one identity: status, reason, deadline, serial, stale, cache seconds, the pair that has a case.
    fn check(
        &self,
        imei: &str,
        imsi: &str,
        serving_plmn: &str,
        emergency: bool,
        now: u64,
    ) -> PyResult<Answer> {
        let (imei, imsi, serving_plmn) = (imei.as_bytes(), imsi.as_bytes(), serving_plmn.as_bytes());
        Ok(answer(self.tables()?.check(&Question { imei, imsi, serving_plmn, emergency }, now)))
    }

    /// Judges many identities by one table state; as many IMSIs as IMEIs.
    #[allow(clippy::needless_pass_by_value)]
    fn check_batch(
        &self,
        imeis: Vec<String>,
        imsis: Vec<String>,
        serving_plmn: &str,
        now: u64,
    ) -> PyResult<Vec<Answer>> {
        if imeis.len() != imsis.len() {
            return Err(refused("not as many IMSIs as IMEIs".into()));
        }
        let asked = imeis.iter().zip(&imsis).map(|(imei, imsi)| Question {
            imei: imei.as_bytes(),
            imsi: imsi.as_bytes(),
            serving_plmn: serving_plmn.as_bytes(),
            emergency: false,
        });
        let mut verdicts = Vec::with_capacity(imeis.len());
        self.tables()?.check_batch(&asked.collect::<Vec<_>>(), now, &mut verdicts);
        Ok(verdicts.into_iter().map(answer).collect())
    }

    /// Judges pairs of IMEI keys and IMSI codes (u64 as bytes) at home, by one table state: their reasons and
    /// outcomes, a byte each, and when exemptions end, u64 as bytes. Other threads run meanwhile.
    #[allow(clippy::needless_pass_by_value)]
    fn judge_pairs<'py>(
        &self,
        py: Python<'py>,
        keys: PyBuffer<u8>,
        imsis: PyBuffer<u8>,
        now: u64,
    ) -> PyResult<[Bound<'py, PyByteArray>; 3]> {
        let (keys, imsis): (View<u64>, View<u64>) = (view_of(keys)?, view_of(imsis)?);
        if keys.len() != imsis.len() {
            return Err(refused("not as many IMSIs as keys".into()));
        }
        let tables = self.tables()?;
        let pairs = keys.iter().zip(imsis.iter()).map(|(&key, &imsi)| Pair { key, imsi });
        let judged = py.detach(|| tables.judge_pairs(pairs, now));
        // What Python owns is given back where Python is attached: the tables after it.
        let columns: [&[u8]; 3] = [&judged.reasons, &judged.outcomes, bytemuck::cast_slice(&judged.ends)];
        Ok(columns.map(|column| PyByteArray::new(py, column)))
    }
}

#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    #[cfg(target_arch = "x86_64")]
    if cfg!(target_feature = "sse4.2")
        && !(std::arch::is_x86_feature_detected!("popcnt") && std::arch::is_x86_feature_detected!("sse4.2"))
    {
        return Err(pyo3::exceptions::PyImportError::new_err("the processor is older than x86-64-v2"));
    }
    module.add("BUILD_ID", crate::BUILD_ID)?;
    module.add("GATE_FIELDS", GATE_FIELDS.to_vec())?;
    module.add("STANDING_FIELDS", STANDING_FIELDS.to_vec())?;
    module.add_function(wrap_pyfunction!(sort, module)?)?;
    #[cfg(feature = "measure")]
    {
        module.add_function(wrap_pyfunction!(crate::measure::measure_checks, module)?)?;
        module.add_function(wrap_pyfunction!(crate::measure::measure_chain, module)?)?;
    }
    module.add_class::<Shard>()?;
    module.add_class::<Overlay>()?;
    module.add_class::<Common>()?;
    module.add_class::<CaseTable>()?;
    module.add_class::<Policy>()?;
    module.add_class::<crate::python_server::CheckServer>()?;
    module.add_class::<Engine>()
}
