//! The provider over HTTP. Only a yes or a no that says so is an answer: a refusal that does not (a proxy's page,
//! wrong credentials, a 4xx of our own making) must not decline an order, so it is a silence.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::contract::{Timestamp, ids::OrderId, money::Money};

use super::{
    Answering, PaymentProvider, Request, Silent,
    server::{IDEMPOTENCY_KEY, UNKNOWN_PAYMENT},
};
use crate::domain::record::{Record, Said};

pub struct HttpProvider {
    client: Client,
    base: Url,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const RECORDS_PER_PAGE: usize = 1_000;

impl HttpProvider {
    /// # Errors
    /// Where the client cannot be made, or `base` cannot have paths below it.
    pub fn new(base: Url, answer_timeout: Duration) -> anyhow::Result<Self> {
        anyhow::ensure!(!base.cannot_be_a_base(), "{base} is not the address of a provider");
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(answer_timeout))
            .timeout(answer_timeout)
            // A provider does not send us elsewhere with an order for money in hand.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client for the payment provider cannot be made")?;
        Ok(Self { client, base })
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn said(&self, request: Request) -> Result<Said, Silent> {
        let url = self.url(&["payments", &request.payment_id.to_string(), request.operation.as_str()]);
        let response = self
            .client
            .post(url)
            .header(IDEMPOTENCY_KEY, request.idempotency_key.to_string())
            .json(&Body { amount: request.amount })
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        // A no may come as 402 or any other 4xx, but a rate limit is never one.
        let may_answer =
            status == StatusCode::OK || (status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS);
        if !may_answer {
            return Err(Silent::because(format!("answered {status}")));
        }
        match (status.is_success(), decode::<Said>(response).await?) {
            (true, Said::Yes) => Ok(Said::Yes),
            (false, no @ Said::No { .. }) => Ok(no),
            (_, said) => Err(Silent::because(format!("answered {status} and said {said:?}"))),
        }
    }

    async fn one(&self, payment_id: OrderId) -> Result<Record, Silent> {
        let url = self.url(&["payments", &payment_id.to_string()]);
        let response = self.client.get(url).send().await.map_err(unreachable)?;
        match response.status() {
            StatusCode::OK => {
                let record: Record = decode(response).await?;
                if record.payment_id == payment_id {
                    return Ok(record);
                }
                Err(Silent::because("answered with the record of another payment"))
            }
            // Not merely an address where nobody knows payments.
            StatusCode::NOT_FOUND if decode::<Problem>(response).await?.code == UNKNOWN_PAYMENT => {
                Ok(Record::nothing(payment_id))
            }
            status => Err(Silent::because(format!("answered {status}"))),
        }
    }

    async fn since(&self, since: Timestamp) -> Result<Vec<Record>, Silent> {
        let (mut records, mut after) = (Vec::new(), 0);
        loop {
            let query = Wanted { since, after, limit: RECORDS_PER_PAGE };
            let request = self.client.get(self.url(&["records"])).query(&query);
            let response = request.send().await.map_err(unreachable)?;
            if response.status() != StatusCode::OK {
                return Err(Silent::because(format!("answered {}", response.status())));
            }
            let page: Records = decode(response).await?;
            records.extend(page.records);
            match page.next {
                Some(next) if next > after => after = next,
                Some(_) => return Err(Silent::because("answered with a page that does not go on")),
                None => return Ok(records),
            }
        }
    }
}

impl PaymentProvider for HttpProvider {
    fn ask(&self, request: Request) -> Answering<'_, Said> {
        Box::pin(self.said(request))
    }

    fn record(&self, payment_id: OrderId) -> Answering<'_, Record> {
        Box::pin(self.one(payment_id))
    }

    fn records(&self, since: Timestamp) -> Answering<'_, Vec<Record>> {
        Box::pin(self.since(since))
    }
}

#[derive(Debug, Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<Money>,
}

#[derive(Debug, Serialize)]
struct Wanted {
    since: Timestamp,
    after: u64,
    limit: usize,
}

#[derive(Debug, Deserialize)]
struct Records {
    records: Vec<Record>,
    next: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
}

/// Reads a body of bounded size.
async fn decode<T: DeserializeOwned>(mut response: Response) -> Result<T, Silent> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Silent::because(format!(
                "answered {status} with more than {ANSWER_BYTES_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body)
        .map_err(|error| Silent::because(format!("answered {status} with something else ({error})")))
}

fn unreachable(error: reqwest::Error) -> Silent {
    // The whole chain: the outermost says only that a request failed.
    Silent::because(format!("{:#}", anyhow::Error::new(error.without_url())))
}
