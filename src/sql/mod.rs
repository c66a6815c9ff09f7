//! `ethogram sql`: one statement to a running query role, its answer to standard output.
//!
//! It is a client like any other: it uses the public HTTP interface and knows no table.

mod client;
mod table;

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, bail};
use clap::ValueEnum;

/// Where the query role listens unless told otherwise.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:4319";

/// A statement larger than this is not one somebody wrote.
const STATEMENT_BYTES_MAX: u64 = 16 << 20;

/// Ask a running query role: a table, or JSON, NDJSON, CSV, Arrow
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The statement, or - to read it from standard input
    #[arg(value_name = "SQL")]
    statement: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The query role to ask
    #[arg(long, value_name = "URL", env = "ETHOGRAM_QUERY_URL", default_value = DEFAULT_URL)]
    query_url: String,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An aligned table for people
    Table,
    /// One JSON object: columns, rows, row_count, complete_until
    Json,
    /// One JSON object per row
    Ndjson,
    /// Comma separated, with a header
    Csv,
    /// An Arrow IPC stream
    Arrow,
}

impl Format {
    /// The media type to ask for.
    fn accept(self) -> &'static str {
        match self {
            Self::Table | Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Asks and prints.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    if options.format == Format::Arrow && io::stdout().is_terminal() {
        bail!("an Arrow stream is not text; send it to a file or a program");
    }
    let statement = statement(&options.statement)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    let result = runtime.block_on(answer(options, &statement, &mut output));
    let result = result.and_then(|()| Ok(output.flush()?));
    match result {
        // `ethogram sql … | head` has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        result => result,
    }
}

async fn answer(options: &Options, statement: &str, output: &mut impl Write) -> anyhow::Result<()> {
    let answer = client::ask(&options.query_url, statement, options.format.accept()).await?;
    match options.format {
        Format::Table => {
            let text = table::render(&answer.whole().await?)
                .context("the answer is not what a query role sends")?;
            output.write_all(text.as_bytes())?;
        }
        Format::Json => {
            output.write_all(&answer.whole().await?)?;
            writeln!(output)?;
        }
        Format::Ndjson | Format::Csv | Format::Arrow => answer.copy(output).await?,
    }
    Ok(())
}

fn statement(argument: &str) -> anyhow::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(STATEMENT_BYTES_MAX + 1).read_to_string(&mut text);
    if read.context("standard input cannot be read")? as u64 > STATEMENT_BYTES_MAX {
        bail!("the statement has more than {STATEMENT_BYTES_MAX} bytes");
    }
    Ok(text)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
