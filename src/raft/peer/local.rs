//! Local: answers the programs that come through the socket in the data directory.

use std::sync::Arc;

use futures_util::FutureExt;

use super::messages::method;
use super::server::{Answer, PeerServer, Shared, as_others_see_it};
use crate::error::{Error, ErrorKind, Result};
use crate::net::{Gate, Hello, Role, Service};

/// The server as clients on this machine see it. They reach no other node, so this one hands on what the leader has to do.
/// They have every right: whoever may open the socket may as well change the files beside it.
pub(in crate::raft) struct Local(pub(in crate::raft) Arc<PeerServer>);

impl Service for Local {
    fn handle(&self, from: &Arc<Hello>, method: u16, message: Vec<u8>) -> Answer {
        match method {
            method::PROPOSE => match self.0.hand_on(message) {
                Ok(answer) => answer,
                Err(error) => std::future::ready(Err(as_others_see_it(error))).boxed(),
            },
            _ => Shared(self.0.clone()).handle(from, method, message),
        }
    }
}

impl Gate for Local {
    fn hello(&self) -> Hello {
        Shared(self.0.clone()).hello()
    }

    /// Members come over the network.
    fn admit(&self, hello: &Hello) -> Result<()> {
        match hello.role {
            Role::Client => Ok(()),
            Role::Peer => Err(Error::new(ErrorKind::InvalidConfig, "the local socket is for clients only")),
        }
    }
}
