/**
 * Stands in the place of the radio of Zigbee2MQTT (`node --require`): a network that is there already, whose devices hear
 * every command. `ZIGBEE2MQTT_FOLDER` names the folder of its package.
 */
const { createRequire } = require('node:module')
const { join } = require('node:path')

const fromZigbee2Mqtt = createRequire(join(process.env.ZIGBEE2MQTT_FOLDER, 'package.json'))
const { Adapter } = fromZigbee2Mqtt('zigbee-herdsman/dist/adapter')

class FakeAdapter extends Adapter {
  start = async () => 'resumed'
  stop = async () => {}
  reset = async () => {}
  supportsBackup = async () => false
  getCoordinatorIEEE = async () => '0x00124b0000000001'
  getCoordinatorVersion = async () => ({ type: 'Fake', meta: {} })
  getNetworkParameters = async () => ({
    panID: 6754,
    extendedPanID: '0xdddddddddddddddd',
    channel: 11,
    nwkUpdateID: 0,
  })
  permitJoin = async () => {}
  sendZdo = async () => [0, {}]
  waitFor = () => ({ promise: new Promise(() => {}), cancel() {} })
  sendZclFrameToEndpoint = async (address, _network, _endpoint, frame) => {
    console.log(`the radio sends ${frame.cluster.name} ${frame.command.name} to ${address}`)
  }
  sendZclFrameToGroup = async () => {}
  sendZclFrameToAll = async () => {}
}

Adapter.create = async (...options) => new FakeAdapter(...options)
