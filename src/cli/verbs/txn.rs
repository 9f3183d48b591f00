//! Txn: the verb that does several operations as one change.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use concord_kv::{Concord, Error, ErrorKind, Reply, Result, StepReply, TransactionReply, Write};
use concord_kv::{decode_transaction, transaction_reply_to_json, value_from_json, value_to_json};

use crate::cli::access::misuse;
use crate::cli::output;

/// What to do.
#[derive(Args)]
#[command(
    after_help = "The transaction is JSON, as `POST /api/v1/txn` takes it. Prints whether the compares held, and a line for each \
                        operation that was done.\n\nExample:\n  \
                        concord txn <<'END'\n  \
                        {\"compare\": [{\"key\": \"account:alice\", \"where\": \"value >= 30\"}],\n   \
                        \"then\": [{\"increment\": \"account:alice\", \"by\": -30}, {\"increment\": \"account:bob\", \"by\": 30}],\n   \
                        \"else\": [{\"get\": \"account:alice\"}],\n   \
                        \"idempotency_key\": \"transfer:17\"}\n  END"
)]
pub(in crate::cli) struct Txn {
    /// File with the transaction; without it, or with `-`, it is read from the standard input.
    file: Option<PathBuf>,
    /// Longest wait for the answer.
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
}

pub(super) fn txn(db: &Concord, txn: &Txn, json: bool) -> Result<()> {
    let text = match txn.file.as_ref().filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            std::fs::read_to_string(file).map_err(|error| misuse(format!("cannot read {}: {error}", file.display())))?
        }
        None => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| misuse(format!("cannot read the standard input: {error}")))?;
            text
        }
    };
    let document = value_from_json(&text)
        .map_err(|error| Error::new(error.kind(), format!("the transaction is no JSON: {}", error.message())))?;
    let transaction = decode_transaction(&document)?;
    let reply = db.kv().call(Write::Transaction(&transaction), txn.timeout_ms)?;
    let Reply::Transaction(reply) = reply else { return Err(ErrorKind::Internal.into()) };
    if json { output::print(&transaction_reply_to_json(&reply)?) } else { print_lines(&reply) }
}

fn print_lines(reply: &TransactionReply) -> Result<()> {
    output::print(if reply.succeeded { "then" } else { "else" })?;
    reply.results.iter().try_for_each(|result| match result {
        StepReply::Done => output::print("ok"),
        StepReply::Integer(sum) => output::print(&sum.to_string()),
        StepReply::Record(None) => output::print("(none)"),
        StepReply::Record(Some(record)) => match value_to_json(&record.value) {
            Ok(value) => output::print(&value),
            Err(_) => output::print("(not to be said in JSON)"),
        },
    })
}
