# Ferry's plugin image: `make plugin` turns it into a rootfs for `docker plugin create`.
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
      g++ cmake ninja-build pkg-config ccache \
      libcpp-httplib-dev nlohmann-json3-dev libspdlog-dev libexpected-dev libxxhash-dev libzstd-dev libssl-dev \
      libssh2-1-dev libarchive-dev liblzma-dev \
    && rm -rf /var/lib/apt/lists/*
# release is what is shipped; asan and tsan are for tests (FERRY_PLUGIN_PRESET, docs/testing.md) and compiled by clang,
# whose sanitizers need no library at run time.
ARG PRESET=release
RUN [ "$PRESET" = release ] || { apt-get update && apt-get install -y --no-install-recommends clang libclang-rt-dev \
    && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
COPY CMakeLists.txt CMakePresets.json ./
COPY plugin plugin
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset "$PRESET" -DFERRY_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr && cmake --build --preset "$PRESET" \
    && DESTDIR=/out cmake --install "build/$PRESET" $([ "$PRESET" != release ] || echo --strip)

# Debian's, but made to crypt whole packets at once.
FROM debian:trixie-slim AS libssh2
COPY plugin/packaging/libssh2 /libssh2
RUN mkdir /out && /libssh2/build /out

FROM debian:trixie-slim
RUN --mount=from=libssh2,source=/out,target=/libssh2 apt-get update && apt-get install -y --no-install-recommends \
      libcpp-httplib0.18 libspdlog1.15 libxxhash0 libzstd1 libssl3t64 libarchive13t64 liblzma5 libstdc++6 \
      /libssh2/*.deb \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*
RUN mkdir -p /propagated /host/docker /host/run /host/ssh /host/archives
COPY rootfs/ /
COPY --from=build /out/ /
ENTRYPOINT ["/usr/bin/ferry"]
