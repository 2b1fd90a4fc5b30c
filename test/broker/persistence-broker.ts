import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { open, persistenceOn } from './persistence-fixture.ts'

/** Bare Aedes on the persistence, for a database file. Prints its port, and each topic once its message is kept. */
const persistence = persistenceOn(open(process.argv[2] ?? ''))
await persistence.load()
const broker = await Aedes.createBroker({ id: 'limb-bridge', persistence: persistence as never })
Object.assign(broker, { counter: persistence.lastCounter })
broker.on('publish', ({ topic }) => {
  if (!topic.startsWith('$SYS')) console.log(topic)
})
// The bridge does this at a CONNECT, before it answers: a queue without a session is nobody's.
broker.preConnect = (_client, { clientId: id = '', clean }, done) => {
  const stored = clean ? Promise.resolve() : persistence.sessions.put(id, id)
  stored.then(
    () => done(null, true),
    (error: Error) => done(error, false),
  )
}
const server = createServer(broker.handle as never)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(typeof address === 'object' ? address?.port : address)
})
