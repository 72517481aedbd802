//! The Python module `eir._core`.

use pyo3::prelude::*;

#[pymodule]
#[pyo3(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("BUILD_ID", crate::BUILD_ID)?;
    Ok(())
}
