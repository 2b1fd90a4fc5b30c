/** Programs for a first device, with the address filled in. Each makes its own key, asks to be paired and says that it is there. */

export interface Place {
  readonly host: string
  readonly port: number
  readonly root: string
  readonly nodeId: string
}

interface Snippet {
  readonly name: string
  readonly make: (place: Place) => string
}

const registration = (nodeId: string) =>
  `{"displayName": "${nodeId}", "platform": "demo", "capabilities": []}`

const mosquitto = ({ host, port, root, nodeId }: Place) => `# A key that only this device has. Keep the file.
[ -f ${nodeId}.key ] || head -c 24 /dev/urandom | base64 | tr '+/' '-_' > ${nodeId}.key

# Ask to be paired; then approve it in the console.
mosquitto_pub -h ${host} -p ${port} -i ${nodeId} -u ${nodeId} -P "$(cat ${nodeId}.key)" -q 1 \\
  -t ${root}/node/${nodeId}/register -m '${registration(nodeId)}'

# Say "I am here", every 15 seconds, once it is approved.
while sleep 15; do echo '{}'; done | mosquitto_pub -l -h ${host} -p ${port} -i ${nodeId} -u ${nodeId} \\
  -P "$(cat ${nodeId}.key)" -q 1 -t ${root}/node/${nodeId}/heartbeat
`

const arduino = ({ host, port, root, nodeId }: Place) => `// ESP32 or ESP8266, with the library PubSubClient.
#include <WiFi.h>
#include <PubSubClient.h>

const char* KEY = "CHANGE-ME-to-24-or-more-random-characters";
WiFiClient net;
PubSubClient mqtt(net);
unsigned long lastBeat = 0;

void onMessage(char* topic, byte* payload, unsigned int length) {
  Serial.write(payload, length);  // shows the code to compare, then "approved"
  Serial.println();
}

void setup() {
  Serial.begin(115200);
  WiFi.begin("YOUR-WIFI", "YOUR-PASSWORD");
  while (WiFi.status() != WL_CONNECTED) delay(200);
  mqtt.setServer("${host}", ${port});
  mqtt.setBufferSize(1024);
  mqtt.setCallback(onMessage);
}

void loop() {
  if (!mqtt.connected()) {
    if (!mqtt.connect("${nodeId}", "${nodeId}", KEY)) { delay(2000); return; }
    mqtt.subscribe("${root}/node/${nodeId}/pairing", 1);
    mqtt.publish("${root}/node/${nodeId}/register",
      "{\\"displayName\\":\\"${nodeId}\\",\\"platform\\":\\"esp32\\",\\"brief\\":true,\\"capabilities\\":[]}");
  }
  if (millis() - lastBeat > 15000) {
    lastBeat = millis();
    mqtt.publish("${root}/node/${nodeId}/heartbeat", "{}");
  }
  mqtt.loop();
}
`

const esphome = ({
  host,
  port,
  root,
  nodeId,
}: Place) => `# ESPHome: being connected is its sign of life, so it needs no heartbeat.
mqtt:
  broker: ${host}
  port: ${port}
  client_id: ${nodeId}
  username: ${nodeId}
  password: !secret limb_key   # 24 or more random characters, in secrets.yaml
  topic_prefix: ${root}/node/${nodeId}/data
  discovery: false
  birth_message:
  will_message:
  on_connect:
    - mqtt.publish:
        topic: ${root}/node/${nodeId}/register
        qos: 1
        payload: '{"displayName": "${nodeId}", "platform": "esphome", "presence": "connection", "capabilities": []}'
  on_message:
    - topic: ${root}/node/${nodeId}/pairing
      qos: 1
      then:
        - logger.log:
            format: "pairing: %s"
            args: ["x.c_str()"]
`

const python = ({ host, port, root, nodeId }: Place) => `# pip install paho-mqtt
import json, pathlib, secrets, time
import paho.mqtt.client as paho

NODE = "${nodeId}"
key_file = pathlib.Path(f"{NODE}.key")
if not key_file.exists():
    key_file.write_text(secrets.token_urlsafe(24))

def on_connect(client, userdata, flags, reason, properties):
    client.subscribe(f"${root}/node/{NODE}/pairing", qos=1)
    client.publish(f"${root}/node/{NODE}/register", json.dumps(
        {"displayName": NODE, "platform": "python", "capabilities": []}), qos=1)

def on_message(client, userdata, message):
    print(message.payload.decode())  # the code to compare, then "approved"

client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=NODE)
client.username_pw_set(NODE, key_file.read_text())
client.on_connect, client.on_message = on_connect, on_message
client.connect("${host}", ${port})
client.loop_start()
while True:
    client.publish(f"${root}/node/{NODE}/heartbeat", "{}")
    time.sleep(15)
`

export const SNIPPETS: readonly Snippet[] = [
  { name: 'mosquitto_pub', make: mosquitto },
  { name: 'Arduino', make: arduino },
  { name: 'ESPHome', make: esphome },
  { name: 'Python', make: python },
]
