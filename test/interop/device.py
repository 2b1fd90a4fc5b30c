"""A limb as people write it with paho: registers, heartbeats, shows the code, keeps the key it is given."""
import json, os, sys
import paho.mqtt.client as mqtt

port, node, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = mqtt.Client(client_id=node, clean_session=key != "persistent", protocol=mqtt.MQTTv311,
                     transport=os.environ.get("TRANSPORT", "tcp"))
if "TRANSPORT" in os.environ:
    client.ws_set_options(path="/mqtt")
if len(sys.argv) > 4:
    client.will_set(f"limb/node/{node}/data/will", "gone", qos=1, retain=True)
client.username_pw_set(node, key or None)

def say(**fields):
    print(json.dumps(fields), flush=True)

def on_connect(client, userdata, flags, code):
    say(event="connect", code=code)
    if code == 0:
        client.subscribe(f"limb/node/{node}/pairing", qos=1)

def on_subscribe(client, userdata, mid, granted):
    say(event="subscribe", granted=list(granted))
    client.publish(f"limb/node/{node}/register", json.dumps({
        "displayName": "Paho camera", "platform": "python",
        "capabilities": [{"cap": "camera", "commands": ["camera.snap"], "authLevel": "free"}]}), qos=1)

def on_message(client, userdata, message):
    answer = json.loads(message.payload)
    say(event="pairing", **answer)
    if answer["status"] == "approved":
        client.publish(f"limb/node/{node}/heartbeat", qos=1)

client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.on_disconnect = lambda client, userdata, code: say(event="disconnect", code=code)
client.connect("127.0.0.1", port, keepalive=30)
client.loop_start()
for line in sys.stdin:
    if line.strip() == "quit":
        break
    client.publish(f"limb/node/{node}/heartbeat", line.strip(), qos=1)
client.disconnect()
client.loop_stop()
