//! Tokens: who may do what. Each verb needs the scope `admin`.

use std::time::Duration;

use axum::http::Uri;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::bulk::{JsonKey, KeyBytes};
use super::cluster::Nothing;
use crate::error::{Error, ErrorKind};
use crate::http::answer::{self, Answer, Envelope, ErrorEnvelope, Fault};
use crate::http::request::{Ask, Content, key_of_json, ttl_ms};
use crate::model::Scopes;
use crate::service::{NewToken, TokenInfo};

/// What a token allows.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Records and the status.
    Read,
    /// Writes of records.
    Write,
    /// Everything, membership and tokens included.
    Admin,
}

/// What is known of a token. Never the token itself.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenData {
    /// By which it is revoked: 16 hexadecimal digits.
    id: String,
    /// For people.
    name: String,
    scopes: Vec<Scope>,
    /// Keys that it reaches: those that begin with one of these; none means every key.
    key_prefixes: Vec<JsonKey>,
    /// When it was made, milliseconds since 1970.
    created_ms: u64,
    /// When it ends, milliseconds since 1970.
    expires_ms: Option<u64>,
    /// When it was last used, milliseconds since 1970, as far as this node knows.
    last_used_ms: Option<u64>,
}

impl TokenData {
    fn of(info: TokenInfo) -> TokenData {
        let Scopes { read, write, admin } = info.scopes;
        let scopes = [(read, Scope::Read), (write, Scope::Write), (admin, Scope::Admin)];
        TokenData {
            id: info.id,
            name: info.name,
            scopes: scopes.into_iter().filter(|(is_set, _)| *is_set).map(|(_, scope)| scope).collect(),
            key_prefixes: info.key_prefixes.into_iter().map(json_key).collect(),
            created_ms: info.created_ms,
            expires_ms: info.expires_ms,
            last_used_ms: info.last_used_ms,
        }
    }
}

fn json_key(key: Vec<u8>) -> JsonKey {
    use base64::Engine as _;
    match String::from_utf8(key) {
        Ok(text) => JsonKey::Text(text),
        Err(other) => {
            JsonKey::Bytes(KeyBytes { bytes: base64::engine::general_purpose::STANDARD.encode(other.as_bytes()) })
        }
    }
}

/// Every token, by when it was made.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", operation_id = "tokens",
    responses(
        (status = 200, description = "All tokens", body = Envelope<Vec<TokenData>>),
        (status = "4XX", description = "UNAUTHORIZED, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn list(ask: Ask) -> Answer {
    let tokens = ask.apart(|db| Ok(db.tokens().list()?)).await?;
    answer::ok(tokens.into_iter().map(TokenData::of).collect::<Vec<_>>())
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody<'a> {
    /// For people, up to 64 bytes.
    name: String,
    /// At least one.
    scopes: Vec<Scope>,
    /// Keys that it reaches: those that begin with one of these, at most 32; none means every key.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Vec<JsonKey>>)]
    key_prefixes: Vec<&'a RawValue>,
    /// How long it is valid, seconds. Default: until it is revoked.
    #[schema(exclusive_minimum = 0)]
    ttl: Option<f64>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedData {
    /// `sk_concord_...`, shown this once.
    token: String,
    info: TokenData,
}

/// Makes a token. Its text is in this answer and nowhere else.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", operation_id = "create_token",
    request_body = CreateBody,
    responses(
        (status = 200, description = "The token", body = Envelope<CreatedData>),
        (status = "4XX", description = "INVALID_REQUEST, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn create(ask: Ask, content: Content) -> Answer {
    let opened = content.open_json()?;
    let body: CreateBody<'_> = opened.json()?;
    let has = |scope| body.scopes.contains(&scope);
    let ttl = body.ttl.map(ttl_ms);
    if ttl == Some(0) {
        return Err(Error::new(ErrorKind::InvalidTtl, "a token is valid for a positive time").into());
    }
    let new = NewToken {
        scopes: Scopes { read: has(Scope::Read), write: has(Scope::Write), admin: has(Scope::Admin) },
        key_prefixes: body.key_prefixes.iter().map(|key| key_of_json(key)).collect::<Result<_, Fault>>()?,
        ttl: ttl.map(Duration::from_millis),
        name: body.name,
    };
    let created = ask.apart(move |db| Ok(db.tokens().create(&new)?)).await?;
    answer::ok(CreatedData { token: created.token.reveal().to_owned(), info: TokenData::of(created.info) })
}

/// Ends a token, on every member at once.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "Its id: 16 hexadecimal digits")),
    responses(
        (status = 200, description = "It is worth nothing any more", body = Envelope<Nothing>),
        (status = "4XX", description = "NOT_FOUND, FORBIDDEN", body = ErrorEnvelope),
        (status = "5XX", description = "CLUSTER_UNAVAILABLE", body = ErrorEnvelope),
    )
)]
pub(super) async fn revoke(ask: Ask, uri: Uri) -> Answer {
    let id = percent_decode_str(uri.path().split('/').nth(4).unwrap_or_default());
    let id = id.decode_utf8().map_err(|_| Fault::from(ErrorKind::NotFound))?.into_owned();
    ask.apart(move |db| Ok(db.tokens().revoke(&id)?)).await?;
    answer::ok(Nothing {})
}
