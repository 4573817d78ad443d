# One image with all programs; a container says which one it is by its command.
# The base images are arguments, so that machines without a registry can use their own (deploy/base-images).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG DEBIAN_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /fulfil
COPY . .
# `debug` for what is tried on one's own machine: it compiles in half the time.
ARG PROFILE=release
# `otlp`: with spans.
ARG FEATURES=
RUN cargo build --locked --workspace --bins --features "$FEATURES" --profile "$([ "$PROFILE" = debug ] && echo dev || echo "$PROFILE")" \
    && mkdir /programs \
    && cd "target/$PROFILE" \
    && cp fulfil order-service inventory-service payment-service projector /programs/

FROM ${DEBIAN_IMAGE}
# librdkafka speaks TLS through the distribution's OpenSSL.
RUN ldconfig -p | grep -q libssl.so.3 \
    || (apt-get update && apt-get install -y --no-install-recommends libssl3 ca-certificates && rm -rf /var/lib/apt/lists/*)
COPY --from=build /programs/ /usr/local/bin/
# A user of its own, who owns nothing but the provider's books.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin fulfil && install -d -o fulfil /books
USER fulfil
CMD ["fulfil", "--help"]
