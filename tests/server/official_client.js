// The official client in the hands of a test: commands as JSON lines on stdin, what happens to the bucket on stdout.
// node official_client.js MODULE URL TOKEN BUCKET
'use strict'

const readline = require('readline')
const [modulePath, url, token, bucketName] = process.argv.slice(2)
const simperium = require(modulePath)
console.log = console.error

const client = simperium.default('ssyncd', token, { url })
const bucket = client.bucket(bucketName)
const objects = bucket.store.objects

const say = (value) => process.stdout.write(JSON.stringify(value) + '\n')

client.on('unauthorized', () => say({ event: 'unauthorized' }))
client.on('connect', () => say({ event: 'connected' }))
bucket.on('index', () => say({ event: 'indexed' }))
// As the store is now: the event of an edit comes after that of a removal that overtook it.
const tell = (key) => say({ event: key in objects ? 'update' : 'remove', key, data: objects[key] })
bucket.on('update', tell)
bucket.on('remove', tell)
bucket.on('error', (error) => say({ event: 'error', text: String(error) }))
// An edit of another that comes while one of its own is about to go out is more than it can bear (see the tests).
process.on('unhandledRejection', (error) => say({ event: 'fault', text: error.stack }))
bucket.channel.on('acknowledge', (key) => say({ event: 'acknowledged', key }))

// What it knows the server to have, whether it shows it or not.
const ghosts = bucket.channel.store
const [put, remove] = [ghosts.put.bind(ghosts), ghosts.remove.bind(ghosts)]
ghosts.put = (key, version, data) => put(key, version, data).then(() => say({ event: 'ghost', key, data }))
ghosts.remove = (key) => remove(key).then(() => say({ event: 'no ghost', key }))

// Everything between reading and updating happens in one turn, so that no change of others comes in between.
const edit = (key, change) => {
  if (objects[key] === undefined) return
  const data = JSON.parse(JSON.stringify(objects[key]))
  change(data)
  bucket.update(key, data)
}

const commands = {
  put: ({ key, data }) => bucket.update(key, data),
  remove: ({ key }) => bucket.remove(key),
  // Positions count code points, so that no pair is cut.
  text: ({ key, at, drop, add }) => edit(key, (data) => {
    const points = Array.from(data.text)
    points.splice(at % (points.length + 1), drop, ...Array.from(add))
    data.text = points.join('')
  }),
  member: ({ key, name, value }) => edit(key, (data) => { data.members[name] = value }),
  offline: () => {
    client.reconnect = false
    client.socket.close()
  },
  online: () => {
    client.open = false
    client.connect()
  },
  quit: () => {
    client.end()
    process.exit(0)
  },
}

const lines = readline.createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const command = JSON.parse(line)
  commands[command.do](command)
})
lines.on('close', commands.quit)
