//! Media: in which form a body comes and an answer is wanted.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};

use crate::http::answer::{Fault, JSON};

/// The forms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Media {
    Json,
    /// Bytes as they are.
    Octets,
    /// An encoded value.
    Cbor,
}

impl Media {
    fn of(name: &str) -> Option<Media> {
        let name = name.trim();
        if name.eq_ignore_ascii_case("application/json") {
            Some(Media::Json)
        } else if name.eq_ignore_ascii_case("application/octet-stream") {
            Some(Media::Octets)
        } else if name.eq_ignore_ascii_case("application/cbor") {
            Some(Media::Cbor)
        } else {
            None
        }
    }

    /// The form of the body. A charset or other parameters change nothing: JSON is UTF-8.
    pub(in crate::http) fn of_body(headers: &HeaderMap) -> Option<Media> {
        let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Media::of(text.split(';').next()?)
    }

    pub(in crate::http) fn name(self) -> HeaderValue {
        match self {
            Media::Json => JSON,
            Media::Octets => HeaderValue::from_static("application/octet-stream"),
            Media::Cbor => HeaderValue::from_static("application/cbor"),
        }
    }
}

/// The form that the client likes best among those that there are.
pub(in crate::http) struct Wanted;

impl Wanted {
    /// # Errors
    /// 406 when it takes none of them.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Media, Fault> {
        let mut best: Option<(f32, Media)> = None;
        let mut names_any = false;
        for value in headers.get_all(header::ACCEPT) {
            let Ok(text) = value.to_str() else { return Err(unacceptable()) };
            for range in text.split(',') {
                let mut parts = range.split(';');
                let name = parts.next().unwrap_or_default().trim();
                if name.is_empty() {
                    continue;
                }
                names_any = true;
                let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
                let media = if name == "*/*" || name.eq_ignore_ascii_case("application/*") {
                    Some(Media::Json)
                } else {
                    Media::of(name)
                };
                if let Some(media) = media
                    && quality > best.map_or(0.0, |(quality, _)| quality)
                {
                    best = Some((quality, media));
                }
            }
        }
        match best {
            Some((_, media)) => Ok(media),
            None if !names_any => Ok(Media::Json),
            None => Err(unacceptable()),
        }
    }
}

fn unacceptable() -> Fault {
    let message = "there is application/json, application/cbor and, of text and bytes, application/octet-stream";
    Fault::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_is_liked_best_wins() {
        let wanted = |accept: &'static str| {
            Wanted::of(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))])).ok()
        };
        assert_eq!(wanted("*/*"), Some(Media::Json));
        assert_eq!(wanted(""), Some(Media::Json));
        assert_eq!(wanted("application/octet-stream"), Some(Media::Octets));
        assert_eq!(wanted("application/json;q=0.5, application/cbor"), Some(Media::Cbor));
        assert_eq!(wanted("text/html, application/xml;q=0.9, */*;q=0.8"), Some(Media::Json));
        assert_eq!(wanted("text/html"), None);
        assert_eq!(wanted("application/json;q=0"), None);
        assert!(Wanted::of(&HeaderMap::new()).is_ok());
    }
}
