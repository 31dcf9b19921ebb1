# The Debian base from the package archive (tools/origins/bootstrap.py).

# ------------------------------------------------------------------ for another platform
# Made in the base of the building machine's own platform, which runs the packages' scripts with
# tools of its own: nothing is emulated.
FROM --platform=$BUILDPLATFORM toolbase AS bootstrap
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends mmdebstrap
COPY bootstrap.sh /
ARG SOURCE_DATE_EPOCH
RUN sh /bootstrap.sh < /etc/apt/sources.list

FROM scratch AS archive
COPY --from=bootstrap /base.tar /

# ------------------------------------------------------------------ an archive as an image
FROM scratch AS image
ADD base.tar /
CMD ["bash"]
