//! Parameters: the query of a request, each name known and none twice.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::http::answer::Fault;

/// The query as `T`.
pub(in crate::http) struct Parameters<T>(pub(in crate::http) T);

impl<S: Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Parameters<T> {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Parameters<T>, Fault> {
        let query = parts.uri.query().unwrap_or_default();
        if !query.is_empty() && percent_decode_str(query).decode_utf8().is_err() {
            return Err(Fault::request("the query is not UTF-8"));
        }
        serde_urlencoded::from_str(query)
            .map(Parameters)
            .map_err(|error| Fault::request(format!("the query is not as documented: {error}")))
    }
}

/// A field that tells `null` from being absent.
pub(in crate::http) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
