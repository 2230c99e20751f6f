//! `GET /counterfoil/v1/exchanges/{it}`: what became of an exchange, for who has its credential.
//!
//! Whoever has another one learns nothing, not even whether there is such an exchange.

use counterfoil_receipt::{Envelope, bundle::Bundle};
use hyper::{HeaderMap, Response, StatusCode};
use tracing::error;

use super::{
    answer::{json, problem},
    app::{Proxy, now},
    headers,
    relay::ResponseBody,
    spool::{
        SpoolError,
        record::{ExchangeId, Record, Spooled},
        state::Kept,
    },
};

/// What a caller gets while its exchange is under way.
const UNDER_WAY: &str = r#"{"id":null,"bundle":null,"openings":null,"claim":null}"#;

/// Answers for the exchange that is named by 32 hex digits.
pub(super) async fn exchange(proxy: &Proxy, name: &str, asking: &HeaderMap) -> Response<ResponseBody> {
    let none = || problem(StatusCode::NOT_FOUND, "there is no such exchange, or it is not yours");
    let Some(exchange) = parse(name) else { return none() };
    let credential = headers::credential(asking, &proxy.credential_headers);
    // First those under way: one that ends at this moment is in the spool by the second look.
    if let Some(kept) = proxy.live.find(&exchange) {
        if !proxy.spool.is_credential(&credential, &kept) {
            return none();
        }
        return json(StatusCode::ACCEPTED, UNDER_WAY.to_owned());
    }
    let Some(kept) = proxy.spool.find(&exchange) else { return none() };
    if kept.completed.millis().saturating_add(proxy.keep_ms) <= now().millis() {
        return none();
    }
    match read(proxy, kept).await {
        Ok(Some((spooled, bundle))) if proxy.spool.is_credential(&credential, &spooled.credential) => {
            json(StatusCode::OK, print(&spooled, bundle.as_ref()))
        }
        Ok(_) => none(),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "an exchange cannot be read");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "the exchange cannot be read")
        }
    }
}

/// The exchange and, if it is in the log, its bundle; `None` if it has gone.
async fn read(proxy: &Proxy, kept: Kept) -> Result<Option<(Spooled, Option<Bundle>)>, SpoolError> {
    let Some(Record::Exchange(spooled)) = proxy.spool.read(kept.place).await? else { return Ok(None) };
    let proof = match kept.delivered {
        Some(place) => proxy.spool.read(place).await?,
        None => None,
    };
    let Some(Record::Delivered(delivered)) = proof else { return Ok(Some((spooled, None))) };
    let statement = Envelope::parse(spooled.envelope.as_bytes()).map(Envelope::into_statement).ok();
    let bundle = Bundle::from_parts(statement, &delivered.entry, &delivered.proof).ok();
    Ok(Some((spooled, bundle)))
}

/// All four are JSON as their files have it.
fn print(spooled: &Spooled, bundle: Option<&Bundle>) -> String {
    let bundle = bundle.map_or_else(|| "null".to_owned(), Bundle::to_json);
    let claim = spooled.claim.as_deref().map_or("null", String::as_str);
    format!(r#"{{"id":"{}","bundle":{bundle},"openings":{},"claim":{claim}}}"#, spooled.id, *spooled.openings)
}

fn parse(name: &str) -> Option<ExchangeId> {
    let is_hex = name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(name, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// The name of an exchange: 32 hex digits.
pub(super) fn name(exchange: &ExchangeId) -> String {
    format!("{:032x}", u128::from_be_bytes(*exchange))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        let exchange = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(name(&exchange), "000102030405060708090a0b0c0d0eff");
        assert_eq!(parse(&name(&exchange)), Some(exchange));
        for text in ["", "00", "000102030405060708090a0b0c0d0eFF", "+00102030405060708090a0b0c0d0eff"] {
            assert_eq!(parse(text), None);
        }
    }
}
