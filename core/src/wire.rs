//! The messages of check.proto and of gRPC health, read from and written to byte slices.
//!
//! By hand, since a check is a few dozen bytes and a batch has thousands of fields: nothing is
//! allocated for a field. What is accepted is what protobuf accepts: unknown fields are skipped, the
//! last of a repeated single field counts, texts are UTF-8.

mod answer;
mod fields;
mod request;

pub use answer::{
    Verdicts, bad_request, error_info, health_response, put_batch, put_status, put_stream_verdict,
    put_verdict, retry_info,
};
pub use fields::Bad;
pub use request::{Batch, CheckRequest, Column, Place, check_request, health_request, stream_request};
