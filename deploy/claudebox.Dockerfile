# An image for projects' pods: git, the usual tools, and the agents. An image of your own needs a POSIX sh, cat, mkdir, mv and git; with setsid and
# script (util-linux, bsdutils) commands end as a group and terminals outlive their connection.
#   docker build -t registry.example.org/claudebox:1 -f deploy/claudebox.Dockerfile deploy && docker push registry.example.org/claudebox:1
#   rdev context set lab --image registry.example.org/claudebox:1
FROM node:22-bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends bsdutils ca-certificates curl git less procps ripgrep util-linux \
 && rm -rf /var/lib/apt/lists/*
RUN npm install --global @anthropic-ai/claude-code opencode-ai && npm cache clean --force
# the user that pods run as; rdev mounts its own volume over both folders
RUN userdel --remove node && useradd --uid 1000 --create-home --shell /bin/bash rdev && install --directory --owner=1000 --group=1000 /workspace
USER 1000:1000
WORKDIR /workspace
CMD ["sleep", "infinity"]
