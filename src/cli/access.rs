//! Access: where a running cluster is, the secret of its members, and TLS. Verbs that speak to a cluster and `serve` share it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use clap::Args;
use concord_kv::{ClientConfig, Concord, Error, ErrorKind, Result, Secret, TlsConfig};

/// Every option has its `CONCORD_*` variable; the option wins.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Access {
    /// Members of a running cluster, separated by commas: the verb acts on it, through any of them, and not on --data-dir.
    #[arg(long, short = 'a', env = "CONCORD_ADDRESS", value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    address: Vec<String>,
    /// File with the secret that all members share; nobody but its owner may read it.
    #[arg(long, value_name = "FILE", global = true)]
    cookie_file: Option<PathBuf>,
    /// The secret itself. Others on this machine see it in the list of processes: prefer --cookie-file.
    #[arg(long, env = "CONCORD_COOKIE", hide_env_values = true, value_name = "SECRET", global = true)]
    cookie: Option<String>,
    /// Certificate chain of this program (PEM); the three TLS options go together.
    #[arg(long, env = "CONCORD_TLS_CERTIFICATE", value_name = "FILE", global = true)]
    tls_certificate: Option<String>,
    /// Its private key (PEM).
    #[arg(long, env = "CONCORD_TLS_PRIVATE_KEY", value_name = "FILE", global = true)]
    tls_private_key: Option<String>,
    /// Certificates of the authority that signs all members and clients (PEM).
    #[arg(long, env = "CONCORD_TLS_AUTHORITY", value_name = "FILE", global = true)]
    tls_authority: Option<String>,
}

impl Access {
    /// Whether a running cluster is named.
    pub(super) fn names_cluster(&self) -> bool {
        self.addresses().next().is_some()
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        self.address.iter().map(|address| address.trim()).filter(|address| !address.is_empty())
    }

    /// Reaches the running cluster; waits so long for a member to answer, or as long as by default.
    pub(super) fn connect(&self, patience_ms: Option<u64>) -> Result<Concord> {
        let addresses: Vec<&str> = self.addresses().collect();
        let mut config = ClientConfig::new(&addresses.join(","), self.secret()?);
        config.tls = self.tls()?;
        config.connect_timeout_ms = patience_ms.unwrap_or(config.connect_timeout_ms);
        if config.cookie.is_empty() {
            return Err(misuse("say the cluster's secret: --cookie-file FILE or CONCORD_COOKIE"));
        }
        Concord::connect(config)
    }

    /// The secret, empty when none is given.
    pub(super) fn secret(&self) -> Result<Secret> {
        let Some(path) = &self.cookie_file else { return Ok(Secret::new(self.cookie.clone().unwrap_or_default())) };
        let unreadable =
            |error: std::io::Error| misuse(format!("cannot read the cookie file {}: {error}", path.display()));
        let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = format!("others may read the cookie file {0}: run `chmod 600 {0}`", path.display());
            return Err(misuse(message));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
    }

    pub(super) fn tls(&self) -> Result<Option<TlsConfig>> {
        // An empty variable counts as one that is not set.
        let given = |file: &Option<String>| file.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from);
        match (given(&self.tls_certificate), given(&self.tls_private_key), given(&self.tls_authority)) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(private_key), Some(authority)) => {
                Ok(Some(TlsConfig { certificate, private_key, authority, verify_node_id: false }))
            }
            _ => Err(misuse("TLS needs --tls-certificate, --tls-private-key and --tls-authority together")),
        }
    }
}

/// An error of how the program was called.
pub(super) fn misuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}
