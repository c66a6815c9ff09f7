//! Binding. A port that is taken is the most common first error, so it names the flag that
//! chooses another one.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// An address cannot be bound. The operator's to fix.
#[derive(Debug, thiserror::Error)]
#[error("`{flag} {address}`: {}", reason(error, flag))]
pub(crate) struct ListenError {
    flag: &'static str,
    address: SocketAddr,
    error: io::Error,
}

/// Binds `address`, which `flag` chooses; the kernel keeps `queue_max` connections until they are
/// accepted. Needs a Tokio runtime.
pub(crate) fn bind(
    flag: &'static str,
    address: SocketAddr,
    queue_max: u32,
) -> Result<TcpListener, ListenError> {
    listener(address, queue_max).map_err(|error| ListenError { flag, address, error })
}

fn listener(address: SocketAddr, queue_max: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A role that was killed leaves connections in TIME_WAIT; without this its port would stay
    // taken for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(queue_max)
}

fn reason(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("address already in use; choose another with {flag} or stop the other process")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address; choose another with {flag}")
        }
        io::ErrorKind::PermissionDenied => {
            format!("not permitted; choose a port above 1023 with {flag}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_names_the_flag() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind("--query-listen", any, 16).expect("port 0 is free");
        let address = first.local_addr().expect("it is bound");
        let error = bind("--query-listen", address, 16).expect_err("it is taken");
        let expected = format!(
            "`--query-listen {address}`: address already in use; choose another with --query-listen or stop the other process"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        // 192.0.2.0/24 is reserved for documentation.
        let other = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = bind("--beacon-listen", other, 16).expect_err("not ours");
        assert!(
            error.to_string().contains("no such address; choose another with --beacon-listen"),
            "{error}"
        );
    }
}
