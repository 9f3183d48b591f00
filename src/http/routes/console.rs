//! Console: the page for operators and developers at `/console`. Its files are inside the program; they hold no data, so
//! they are given to everybody, and what the page shows it asks of the API with the token of whoever looks at it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::Redirect;
use axum::routing::get;

use crate::http::answer;

/// Nothing but files of this node, no code or style inside the page, no page around it, and no text that becomes markup.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Names the files of the page: path under `/console/`, media type, text.
macro_rules! files {
    ($($path:literal: $media:expr),* $(,)?) => {
        &[$(($path, $media, include_str!(concat!("../console/", $path)))),*]
    };
}

/// The page itself has the empty path.
const FILES: &[(&str, &str, &str)] = files! {
    "index.html": "text/html; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "members.js": SCRIPT,
    "keys/page.js": SCRIPT,
    "keys/tree.js": SCRIPT,
    "keys/level.js": SCRIPT,
    "keys/record.js": SCRIPT,
    "keys/editor.js": SCRIPT,
    "keys/dialog.js": SCRIPT,
    "keys/store.js": SCRIPT,
    "metrics/page.js": SCRIPT,
    "metrics/chart.js": SCRIPT,
    "metrics/history.js": SCRIPT,
    "metrics/prometheus.js": SCRIPT,
    "values/key.js": SCRIPT,
    "values/json.js": SCRIPT,
    "values/cbor.js": SCRIPT,
    "values/show.js": SCRIPT,
};

/// Adds the page and its files.
pub(super) fn pages(router: Router) -> Router {
    let router = router.route("/console", get(|| async { Redirect::permanent("/console/") }));
    FILES.iter().fold(router, |router, &(path, media, text)| {
        let path = if path == "index.html" { "" } else { path };
        let file = File { media: HeaderValue::from_static(media), text, tag: tag_of(text) };
        router.route(&format!("/console/{path}"), get(move |headers: HeaderMap| async move { file.answer(&headers) }))
    })
}

/// One file, ready to be sent.
#[derive(Clone)]
struct File {
    media: HeaderValue,
    text: &'static str,
    tag: String,
}

impl File {
    /// The file, or only that the browser has it already.
    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let has =
            |tags: &HeaderValue| tags.to_str().is_ok_and(|tags| tags.split(',').any(|tag| tag.trim() == self.tag));
        let mut response = if headers.get_all(header::IF_NONE_MATCH).iter().any(has) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            answer::with_type(self.media.clone(), self.text.into())
        };
        let headers = response.headers_mut();
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
        // Another version of the program has other files: ask each time.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
        response
    }
}

/// The same for the same text. Weak, because the bytes on the wire may be compressed.
fn tag_of(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_imported_is_served() {
        let has = |path: &str| FILES.iter().any(|(each, _, _)| *each == path);
        let mut imports = 0;
        for (path, _, text) in FILES.iter().filter(|(_, media, _)| *media == SCRIPT) {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for (_, rest) in text.match_indices(" from \"").map(|(at, found)| text.split_at(at + found.len())) {
                let asked = rest.split('"').next().unwrap();
                let found = match asked.strip_prefix("../") {
                    Some(above) => above.to_owned(),
                    None => format!("{folder}/{}", &asked[2..]).trim_start_matches('/').to_owned(),
                };
                assert!(has(&found), "{path} imports {asked}");
                imports += 1;
            }
        }
        assert!(imports > 20, "{imports}");
    }

    #[test]
    fn text_never_becomes_markup_and_nothing_is_fetched_from_elsewhere() {
        for (path, _, text) in FILES {
            let words =
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "https://"];
            for word in words {
                assert!(!text.contains(word), "{path}: {word}");
            }
            assert!(!text.contains("http://") || *path == "icon.svg" || *path == "dom.js", "{path} names a place");
            assert!(text.lines().count() <= 400, "{path} is too long");
        }
    }

    #[test]
    fn a_browser_that_has_the_file_is_told_so() {
        let file = File { media: HeaderValue::from_static(SCRIPT), text: "x", tag: tag_of("x") };
        let ask = |tags: &str| {
            file.answer(&HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap())])).status()
        };
        assert_eq!(ask(&format!("\"1\", {}", file.tag)), StatusCode::NOT_MODIFIED);
        assert_eq!(ask("\"1\""), StatusCode::OK);
        assert_ne!(tag_of("x"), tag_of("y"));
    }
}
