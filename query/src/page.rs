//! The page: a few files inside the binary, each named here.
//!
//! It is not a file server: a path that is not in the table is not found, so no path can leave it. Nor
//! does it know the paths below `/api/`: one that comes here is nowhere, and is told so as JSON.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, Uri};

use crate::error::ApiError;

/// A file of the page.
struct File {
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal = $file:literal as $media_type:literal;)*) => {
        &[$(File {
            path: $path,
            media_type: $media_type,
            bytes: include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../dashboards/page/",
                $file
            )),
        },)*]
    };
}

/// All files, by path.
const FILES: &[File] = files! {
    "/" = "index.html" as "text/html; charset=utf-8";
    "/style.css" = "style.css" as "text/css; charset=utf-8";
    "/main.js" = "main.js" as "text/javascript; charset=utf-8";
    "/ask.js" = "ask.js" as "text/javascript; charset=utf-8";
    "/regions.js" = "regions.js" as "text/javascript; charset=utf-8";
    "/amplification.js" = "amplification.js" as "text/javascript; charset=utf-8";
    "/sessions.js" = "sessions.js" as "text/javascript; charset=utf-8";
    "/timeline.js" = "timeline.js" as "text/javascript; charset=utf-8";
    "/format.js" = "format.js" as "text/javascript; charset=utf-8";
    "/address.js" = "address.js" as "text/javascript; charset=utf-8";
    "/chart.js" = "chart.js" as "text/javascript; charset=utf-8";
    "/glyphs.js" = "glyphs.js" as "text/javascript; charset=utf-8";
    "/lanes.js" = "lanes.js" as "text/javascript; charset=utf-8";
    "/painter.js" = "painter.js" as "text/javascript; charset=utf-8";
    "/pulse.js" = "pulse.js" as "text/javascript; charset=utf-8";
    "/surface.js" = "surface.js" as "text/javascript; charset=utf-8";
    "/table.js" = "table.js" as "text/javascript; charset=utf-8";
};

/// Answers with a file, or says that there is none, or that files can only be had.
pub(crate) async fn get(method: Method, uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        let nowhere = ApiError::plan("there is nothing at this path");
        return nowhere.with_status(StatusCode::NOT_FOUND).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = ApiError::wrong_method().into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
        return response;
    }
    match FILES.iter().find(|file| file.path == uri.path()) {
        // The files change with the binary and are small: asking again is cheaper than a stale page.
        Some(file) => ([(CONTENT_TYPE, file.media_type), (CACHE_CONTROL, "no-cache")], file.bytes)
            .into_response(),
        None => (StatusCode::NOT_FOUND, "not found\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn knows_its_files_and_nothing_else() {
        for (method, path, status) in [
            (Method::GET, "/", 200),
            (Method::HEAD, "/", 200),
            (Method::POST, "/", 405),
            (Method::DELETE, "/main.js", 405),
            (Method::GET, "/main.js", 200),
            (Method::GET, "/main.js?x=1", 200),
            (Method::GET, "/nothing.js", 404),
            (Method::POST, "/nothing.js", 405),
            (Method::POST, "/api/nothing", 404),
            (Method::GET, "/../Cargo.toml", 404),
            (Method::GET, "/page/index.html", 404),
        ] {
            let uri: Uri = path.parse().expect("a path");
            let shown = format!("{method} {path}");
            let response = get(method, uri).await;
            assert_eq!(response.status().as_u16(), status, "{shown}");
            assert_eq!(response.headers().contains_key(ALLOW), status == 405, "{shown}");
        }
    }
}
