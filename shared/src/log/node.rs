//! Which server takes the writes. A database can stand on several, of which one is the primary; a URL names them as
//! libpq does, `postgres://user@one:5432,two:5432/name`.
//!
//! Every connection of ours is opened here, and again after each loss: so none of them decides, publishes or folds on a
//! standby, and a failover needs no new configuration.

use std::{io, str::FromStr, time::Duration};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{StoreError, connect::Unfit};

/// Of several: one that is silent must leave time for the next, within what a call may take.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);

/// One for each server of the URL, in their order.
pub fn nodes(url: &str) -> Result<Vec<PgConnectOptions>, Unfit> {
    let parse = |url: &str| PgConnectOptions::from_str(url).map_err(Unfit::Url);
    let Some((before, hosts, after)) = split(url) else { return Ok(vec![parse(url)?]) };
    let named = |host: &str| match host {
        "" => Err(Unfit::Url(sqlx::Error::Configuration("a host between two commas has no name".into()))),
        host => parse(&format!("{before}{host}{after}")),
    };
    hosts.split(',').map(named).collect()
}

/// Around the hosts, where there are several.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let authority = url.find("://")? + "://".len();
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |length| authority + length);
    let hosts = url[..end].rfind('@').map_or(authority, |at| at + 1).max(authority);
    url[hosts..end].contains(',').then(|| (&url[..hosts], &url[hosts..end], &url[end..]))
}

/// A connection to the one that takes writes. `with` is asked of every server.
///
/// # Errors
/// [`Unfit::Standby`] where the URL names a standby alone. Of several that are all standbys, away or set up wrongly, one can
/// be promoted, come back or be mended: [`StoreError::Unavailable`], which says what is wrong with each.
pub async fn primary(
    url: &str,
    with: impl Fn(PgConnectOptions) -> PgConnectOptions,
) -> Result<PgConnection, Unfit> {
    let mut nodes: Vec<_> = nodes(url)?.into_iter().map(with).collect();
    if let [_] = nodes[..] {
        return open(&nodes.remove(0)).await;
    }
    let mut said = Vec::new();
    for node in nodes {
        let name = format!("{}:{}", node.get_host(), node.get_port());
        match timeout(NODE_TIMEOUT, open(&node)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(Unfit::Standby)) => said.push(format!("{name} is a standby")),
            Ok(Err(unfit)) => said.push(format!("{name}: {unfit}")),
            Err(_) => said.push(format!("{name} does not answer")),
        }
    }
    let nobody = io::Error::other(format!("nobody takes writes: {}", said.join(", ")));
    Err(StoreError::Unavailable(sqlx::Error::Io(nobody)).into())
}

async fn open(node: &PgConnectOptions) -> Result<PgConnection, Unfit> {
    let mut connection = node.connect().await.map_err(StoreError::from)?;
    let is_standby = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(&mut connection).await;
    if is_standby.map_err(StoreError::from)? { Err(Unfit::Standby) } else { Ok(connection) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let address = |node: &PgConnectOptions| {
            let name = node.get_database().unwrap_or_default();
            format!("{}@{}:{}/{name}", node.get_username(), node.get_host(), node.get_port())
        };
        nodes(url).unwrap().iter().map(address).collect()
    }

    #[test]
    fn each_host_of_a_url_is_one_server_with_all_the_rest_in_common() {
        assert_eq!(addresses("postgres://me@one:1,two:2/shop"), ["me@one:1/shop", "me@two:2/shop"]);
        assert_eq!(
            addresses(
                "postgres://me:a%2Cb,c@one,two:2,[::1]:3/shop?sslmode=disable&options[search_path]=a,b"
            ),
            ["me@one:5432/shop", "me@two:2/shop", "me@[::1]:3/shop"]
        );
        assert_eq!(addresses("postgresql://me@one:1/shop"), ["me@one:1/shop"]);
        // Commas elsewhere name no host.
        assert_eq!(addresses("postgres://me:a,b@one:1/a,b?application_name=c,d@e"), ["me@one:1/a,b"]);
    }

    #[test]
    fn a_host_without_a_name_or_with_an_impossible_port_is_refused() {
        for bad in
            ["postgres://me@one:1,/shop", "postgres://one:1,,two:2/shop", "postgres://me@one:1,two:x/shop"]
        {
            let refusal = nodes(bad).unwrap_err();
            assert!(matches!(refusal, Unfit::Url(_)), "{bad}: {refusal}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_waited_for_and_each_is_named() {
        let url = "postgres://me@127.0.0.1:1,127.0.0.1:2/shop";
        let Err(Unfit::Store(error)) = primary(url, |node| node).await else { panic!("it connected") };
        assert!(error.is_infrastructure());
        let said = error.to_string();
        assert!(said.contains("127.0.0.1:1") && said.contains("127.0.0.1:2"), "{said}");
    }
}
