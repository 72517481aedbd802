//! What of a request is not valid, as eir/server/check.py has it.

use super::Limits;
use super::answer::Failure;
use super::request::Method;
use crate::wire::{self, Batch, CheckRequest, Place};

const IDENTITY_BYTES_MAX: usize = 256;
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The check that a message of a unary call or of a stream is; None where it is not valid.
pub fn check<'m>(method: Method, message: &'m [u8], limits: &Limits) -> Option<CheckRequest<'m>> {
    if message.len() > limits.message_bytes_max {
        return None;
    }
    let request = match method {
        Method::Check => wire::check_request(message).ok()?,
        _ => wire::stream_request(message).ok()??,
    };
    request_valid(&request).is_ok().then_some(request)
}

/// Why a check is not valid.
pub fn request_valid(request: &CheckRequest<'_>) -> Result<(), Failure> {
    bounded("request_id", request.request_id, REQUEST_ID_BYTES_MAX)?;
    if !request.emergency {
        // An error is taken for a denial by some nodes.
        bounded("imei", request.imei, IDENTITY_BYTES_MAX)?;
        bounded("imsi", request.imsi, IDENTITY_BYTES_MAX)?;
        bounded("msisdn", request.msisdn, IDENTITY_BYTES_MAX)?;
        plmn_valid(request.serving_plmn)?;
    }
    Ok(())
}

fn bounded(field: &'static str, text: &[u8], bytes_max: usize) -> Result<(), Failure> {
    if text.len() <= bytes_max {
        return Ok(());
    }
    Err(Failure::Invalid(field.into(), format!("has {} bytes; allowed are {bytes_max}", text.len())))
}

/// A network is MCC and MNC (TS 23.003 clause 12.1), or left out.
fn plmn_valid(plmn: &[u8]) -> Result<(), Failure> {
    if plmn.is_empty() || (matches!(plmn.len(), 5 | 6) && plmn.iter().all(u8::is_ascii_digit)) {
        return Ok(());
    }
    let text = "allowed are 5 or 6 digits, or empty for the home network";
    Err(Failure::Invalid("serving_plmn".into(), text.into()))
}

/// Why a batch is not valid.
pub fn batch_valid(batch: &Batch, message: &[u8], rows_max: usize) -> Result<(), Failure> {
    let (imeis, imsis) = (batch.imei.rows, batch.imsi.rows);
    if imeis > rows_max {
        let text = format!("has {imeis} entries; allowed are {rows_max}");
        return Err(Failure::Invalid("imei".into(), text));
    }
    if imsis != 0 && imsis != imeis {
        let text = format!("has {imsis} entries and imei has {imeis}; allowed are as many, or none");
        return Err(Failure::Invalid("imsi".into(), text));
    }
    for (name, column) in [("imei", &batch.imei), ("imsi", &batch.imsi)] {
        let long = column.places.iter().enumerate().find(|(_, place)| place.bytes() > IDENTITY_BYTES_MAX);
        if let Some((row, place)) = long {
            let text = format!("has {} bytes; allowed are {IDENTITY_BYTES_MAX}", place.bytes());
            return Err(Failure::Invalid(format!("{name}[{row}]").into(), text));
        }
    }
    let text = |place: Option<Place>| place.map_or(&[][..], |place| place.of(message));
    bounded("request_id", text(batch.request_id), REQUEST_ID_BYTES_MAX)?;
    plmn_valid(text(batch.serving_plmn))
}
