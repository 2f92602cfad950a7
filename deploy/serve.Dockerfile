# An image for `rdev serve` in a cluster: Python, git, rdev. It needs no root and no writable root; what it writes is under /var/lib/rdev and /tmp.
#   docker build -t registry.example.org/rdev-serve:1 -f deploy/serve.Dockerfile .
FROM python:3.13-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git tini \
 && rm -rf /var/lib/apt/lists/*
# from a checkout; of a released version: RUN pip install --no-cache-dir 'rdev[serve]==VERSION'
COPY . /src
RUN pip install --no-cache-dir '/src[serve]' && rm -rf /src
RUN useradd --system --uid 10001 --home-dir /var/lib/rdev --shell /usr/sbin/nologin rdev \
 && install --directory --mode=0700 --owner=10001 --group=10001 /var/lib/rdev
ENV HOME=/var/lib/rdev XDG_STATE_HOME=/var/lib/rdev XDG_CONFIG_HOME=/etc XDG_CACHE_HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/rdev
VOLUME /var/lib/rdev
EXPOSE 8080
# git leaves children behind now and then; somebody has to reap them
ENTRYPOINT ["/usr/bin/tini", "--", "rdev"]
CMD ["serve"]
