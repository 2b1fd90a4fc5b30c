# Runs in the box.
cd /project || exit 1
export PATH=/project/node_modules/.bin:$PATH
exec node node_modules/vitest/vitest.mjs run --config test/systemd/vitest.config.ts
