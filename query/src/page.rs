//! The page: a few files inside the binary, each named here.
//!
//! It is not a file server: a path that is not in the table is not found, so no path can leave it.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{StatusCode, Uri};

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

/// Answers with a file, or 404.
pub(crate) async fn get(uri: Uri) -> Response {
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
        for (path, status) in [
            ("/", 200),
            ("/main.js", 200),
            ("/main.js?x=1", 200),
            ("/nothing.js", 404),
            ("/../Cargo.toml", 404),
            ("/page/index.html", 404),
        ] {
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(get(uri).await.status().as_u16(), status, "{path}");
        }
    }
}
