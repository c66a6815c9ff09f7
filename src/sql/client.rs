//! The request and the pieces of its answer.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A query role is near. One that does not accept within this time is not there.
const CONNECT: Duration = Duration::from_secs(5);

/// A successful answer whose body has not been read.
pub(crate) struct Answer(Response<Incoming>);

/// Sends `statement` to the query role at `url` and waits for its verdict, as long as it takes:
/// ending this process ends the query.
pub(crate) async fn ask(url: &str, statement: &str, accept: &str) -> anyhow::Result<Answer> {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::post(endpoint(url)?)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, accept)
        .body(Full::new(Bytes::from(serde_json::json!({ "sql": statement }).to_string())))?;
    let response = client.request(request).await.map_err(|error| match error.is_connect() {
        true => anyhow!("no query role at {url}: {}; start one with `ethogram` or name another with --query-url", root_cause(&error)),
        false => anyhow!("the query role at {url} did not answer: {}", root_cause(&error)),
    })?;
    if response.status().is_success() {
        return Ok(Answer(response));
    }
    let status = response.status();
    let body = response.into_body().collect().await.context("the answer broke off")?.to_bytes();
    bail!(refusal(status, &body))
}

impl Answer {
    /// The whole body.
    pub(crate) async fn whole(self) -> anyhow::Result<Bytes> {
        Ok(self.0.into_body().collect().await.context("the answer broke off")?.to_bytes())
    }

    /// Writes the body as it comes.
    pub(crate) async fn copy(self, output: &mut impl Write) -> anyhow::Result<()> {
        let mut body = self.0.into_body();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.context("the answer broke off")?.into_data() {
                output.write_all(&data)?;
            }
        }
        Ok(())
    }
}

fn endpoint(url: &str) -> anyhow::Result<Uri> {
    let wrong = || format!("--query-url {url}: not an address such as http://127.0.0.1:4319");
    // Somebody who copied `127.0.0.1:4319` meant just that.
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri =
        format!("{}/api/v1/sql", url.trim_end_matches('/')).parse().with_context(wrong)?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        bail!(wrong());
    }
    Ok(uri)
}

/// `kind: message` of an error in our form; any other body as it is.
fn refusal(status: StatusCode, body: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(|value| value.get("error"));
    let text = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    match (text("kind"), text("message")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        _ => format!("{status}: {}", String::from_utf8_lossy(body).trim()),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_may_be_short_but_must_be_http() {
        let check = |url, expected: Option<&str>| {
            assert_eq!(endpoint(url).ok().map(|uri| uri.to_string()).as_deref(), expected, "{url}");
        };
        check("http://127.0.0.1:4319", Some("http://127.0.0.1:4319/api/v1/sql"));
        check("http://127.0.0.1:4319/", Some("http://127.0.0.1:4319/api/v1/sql"));
        check("127.0.0.1:4319", Some("http://127.0.0.1:4319/api/v1/sql"));
        check("http://proxy/ethogram/", Some("http://proxy/ethogram/api/v1/sql"));
        check("https://127.0.0.1:4319", None);
        check("", None);
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let check = |body: &str, expected| {
            assert_eq!(refusal(StatusCode::BAD_REQUEST, body.as_bytes()), expected)
        };
        check(r#"{"error":{"kind":"plan","message":"no table x"}}"#, "plan: no table x");
        check("<html>", "400 Bad Request: <html>");
        check("", "400 Bad Request: ");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_what_to_do() {
        // Port 1 of loopback refuses at once.
        let error =
            ask("http://127.0.0.1:1", "SELECT 1", "text/csv").await.err().expect("nobody is there");
        assert!(error.to_string().contains("no query role at http://127.0.0.1:1"), "{error}");
        assert!(error.to_string().contains("--query-url"), "{error}");
    }
}
